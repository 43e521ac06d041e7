//! Events, as a list and as a stream, and the incidents that are told from them.

use super::App;
use super::input::Options;
use super::problem::Problem;
use super::reads::Page;
use crate::timeline::{Incident, build};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use holdfast_model::event::Event;
use holdfast_model::id::{HostName, VmName};
use holdfast_store::cache::Cache;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

/// Events sent at once if nothing is asked for, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// An event with its id, which sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The id.
    pub id: String,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// Which events are asked for.
#[derive(Debug, Clone, Default)]
struct Wanted {
    vm: Option<VmName>,
    host: Option<HostName>,
}

impl Wanted {
    fn takes(&self, event: &Event) -> bool {
        self.vm
            .as_ref()
            .is_none_or(|vm| event.vm.as_ref() == Some(vm))
            && self
                .host
                .as_ref()
                .is_none_or(|host| event.host.as_ref() == Some(host))
    }
}

/// `GET /v1/events?after=ID&limit=N&vm=V&host=H&follow`. Without `after` the newest ones, oldest
/// first. With `follow` (or `Accept: text/event-stream`) a stream that goes on.
pub async fn events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    options: Options,
) -> Result<Response, Problem> {
    let options = options.only(&["after", "limit", "vm", "host", "follow"])?;
    let limit = options
        .number::<usize>("limit")?
        .unwrap_or(PAGE)
        .clamp(0, PAGE_MAX);
    let wanted = Wanted {
        vm: options.name("vm")?,
        host: options.name("host")?,
    };
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let stream = accept.is_some_and(|accept| accept.contains("text/event-stream"));
    let resumed = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let after = resumed.or(options.text("after"));
    let page = app.look(|look| list(look.view, &wanted, after, limit))?;
    if stream || options.flag("follow")? {
        let last = page.items.last().map(|listed| listed.id.clone());
        let last = last.or(after.map(str::to_owned));
        let follow = follow(app.cache.subscribe(), wanted, page.items.into(), last);
        return Ok(Sse::new(follow)
            .keep_alive(KeepAlive::default())
            .into_response());
    }
    Ok(Json(page).into_response())
}

fn list(view: &View, wanted: &Wanted, after: Option<&str>, limit: usize) -> Page<Listed> {
    let listed = |(id, event): (&String, &Event)| Listed {
        id: id.clone(),
        event: event.clone(),
    };
    let Some(after) = after else {
        let newest = view
            .events
            .iter()
            .rev()
            .filter(|(_, event)| wanted.takes(event));
        let mut items: Vec<Listed> = newest.take(limit).map(listed).collect();
        items.reverse();
        return Page { items, next: None };
    };
    let later = view.events.after(after);
    let later = later.filter(|(_, event)| wanted.takes(event));
    let mut items: Vec<Listed> = later.take(limit + 1).map(listed).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|listed| listed.id.clone());
    Page { items, next }
}

struct Follow {
    cache: Cache,
    wanted: Wanted,
    queue: VecDeque<Listed>,
    last: String,
}

/// First what there is, then what comes, in the order in which it was written.
fn follow(
    cache: Cache,
    wanted: Wanted,
    queue: VecDeque<Listed>,
    last: Option<String>,
) -> impl Stream<Item = Result<Message, Infallible>> {
    let last = last
        .or_else(|| cache.read(|view| view.events.iter().next_back().map(|(id, _)| id.clone())))
        .unwrap_or_default();
    let state = Follow {
        cache,
        wanted,
        queue,
        last,
    };
    stream::unfold(state, |mut state| async move {
        loop {
            if let Some(listed) = state.queue.pop_front() {
                let data = serde_json::to_string(&listed).unwrap_or_default();
                let message = Message::default().id(&listed.id).data(data);
                return Some((Ok(message), state));
            }
            let page = state
                .cache
                .read(|view| list(view, &state.wanted, Some(&state.last), PAGE_MAX));
            if let Some(newest) = page.items.last() {
                state.last.clone_from(&newest.id);
                state.queue = page.items.into();
            } else {
                state.cache.changed().await;
            }
        }
    })
}

/// What happened, as far as events are kept.
pub(super) fn incidents(view: &View) -> Vec<Incident> {
    let sites: BTreeMap<_, _> = view
        .hosts
        .iter()
        .filter_map(|(name, host)| Some((name.clone(), host.spec.as_ref()?.value.site.clone())))
        .collect();
    build(view.events.iter().map(|(_, event)| event), &sites)
}

/// `GET /v1/timeline`: all incidents in the events that are kept, oldest first.
pub async fn timelines(State(app): State<Arc<App>>) -> Result<Json<Page<Incident>>, Problem> {
    app.look(|look| {
        Json(Page {
            items: incidents(look.view),
            next: None,
        })
    })
}

/// `GET /v1/timeline/{ID}`; `last` is the newest one.
pub async fn timeline(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Incident>, Problem> {
    let all = app.look(|look| incidents(look.view))?;
    let found = if id == "last" {
        all.last()
    } else {
        all.iter().find(|incident| incident.id == id)
    };
    found.cloned().map(Json).ok_or_else(|| {
        let detail = if all.is_empty() {
            "no incident is in the events that are kept".to_owned()
        } else {
            format!("there is no incident `{id}`; `holdfast timeline` lists them")
        };
        Problem::new("not-found", detail)
    })
}
