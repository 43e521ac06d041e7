//! Components: the bytes of an extension, before anybody uses them. The first of the
//! [two steps](super::extensions) in which one is installed.

use super::App;
use super::component_trial::HELD;
use super::extension_versions::is_used;
use super::extensions::Answer;
use super::input::Options;
use super::problem::Problem;
use super::write::Outcome;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use holdfast_model::extension::{COMPONENT_BYTES_LARGE_MAX, component_fault};
use holdfast_store::clock::wall;
use holdfast_store::components::{self, Entry};
use std::sync::Arc;

/// A component that nobody names is kept for so long, in milliseconds: its extension may be on its way.
const UNUSED_MS: u64 = 60 * 60 * 1000;
/// So much of a body that is refused is read and thrown away, in bytes: who sends it hears why only once it is sent, for
/// a connection that is closed before takes the answer along.
const THROWN_AWAY_BYTES: u64 = 4 * COMPONENT_BYTES_LARGE_MAX;

/// `PUT /v1/components/{DIGEST}?large=true&dry_run=true`.
pub async fn upload(
    State(app): State<Arc<App>>,
    Path(digest): Path<String>,
    options: Options,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let options = options.only(&["large", "dry_run"])?;
    let (large, dry_run) = (options.flag("large")?, options.flag("dry_run")?);
    let bytes = taken(&headers, body, large).await?;
    let found = crate::extensions::digest(&bytes);
    if found != digest {
        let detail = format!(
            "the body's SHA-256 is {found}, not {digest}: it was damaged on its way, or named wrongly; \
             send it again"
        );
        return Err(Problem::new("invalid", detail));
    }
    if dry_run {
        hold(&app, &digest, bytes);
        let text = format!("look at component {}", short(&digest));
        return Ok(Json(uploaded(text, true, true)));
    }
    let known = components::entry(&*app.store, &digest).await;
    let known = known.map_err(|error| Problem::store(&error))?.is_some();
    if !known {
        forget_unused(&app).await?;
        let stored = components::put(&*app.store, &digest, &bytes, wall()).await;
        stored.map_err(|error| Problem::store(&error))?;
    }
    let text = format!("store component {}", short(&digest));
    Ok(Json(uploaded(text, !known, false)))
}

/// The body, if it is not too large. One that is too large is not held; it is not even read if whoever sends it waits
/// for leave to, or if it is out of all proportion.
async fn taken(headers: &HeaderMap, body: Body, large: bool) -> Result<Bytes, Problem> {
    let refused =
        |length: u64| component_fault(length, large).map(|why| Problem::new("invalid", why));
    let told = headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|told| told.to_str().ok()?.parse::<u64>().ok());
    let told = told.and_then(|length| Some((length, refused(length)?)));
    if let Some((length, problem)) = &told
        && (headers.contains_key(header::EXPECT) || *length > THROWN_AWAY_BYTES)
    {
        return Err(problem.clone());
    }
    let mut stream = body.into_data_stream();
    let mut held = Vec::new();
    let mut length = 0_u64;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            let detail = format!("the component did not arrive whole: {error}; send it again");
            Problem::new("bad-request", detail)
        })?;
        length = length.saturating_add(piece.len() as u64);
        if length > THROWN_AWAY_BYTES {
            break;
        }
        match told.is_some() || refused(length).is_some() {
            true => held = Vec::new(),
            false => held.extend_from_slice(&piece),
        }
    }
    match refused(length) {
        Some(problem) => Err(problem),
        None => Ok(held.into()),
    }
}

fn uploaded(text: String, changed: bool, dry_run: bool) -> Outcome {
    Outcome {
        changed,
        dry_run,
        revision: None,
        text,
        warnings: Vec::new(),
        would: Vec::new(),
        waits: Vec::new(),
    }
}

/// For the trial that follows at once; not for longer.
fn hold(app: &Arc<App>, digest: &str, bytes: Bytes) {
    app.on_trial.hold(digest, bytes);
    let (app, digest) = (app.clone(), digest.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(HELD).await;
        app.on_trial.take(&digest);
    });
}

/// Components that nobody uses and nobody is about to.
async fn forget_unused(app: &App) -> Result<(), Problem> {
    let entries = components::entries(&*app.store).await;
    let entries = entries.map_err(|error| Problem::store(&error))?;
    let now = wall().0;
    let unused = |entry: &&Entry| now.saturating_sub(entry.at.0) > UNUSED_MS;
    for entry in entries.iter().filter(unused) {
        let used = app.look(|look| is_used(look.view, &entry.digest))?;
        if !used {
            let removed = components::remove(&*app.store, entry).await;
            removed.map_err(|error| Problem::store(&error))?;
        }
    }
    Ok(())
}

/// The beginning of a digest, for people.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
