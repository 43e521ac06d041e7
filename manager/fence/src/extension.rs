//! Devices that an extension talks to. What it says is looked at beside what this machine reads itself
//! ([`holdfast_core::read_back`]).
//!
//! ```text
//! off ───> extension ──requests──> board, program         (written down before and after each)
//! status ┬> extension ──requests──> board, program ─┐
//!        └> read back ──request───> board, program ─┴> believed
//! ```
//! A call is on a thread of its own and ends within the extension's limits; what it has sent by then goes on, and
//! whoever sends it writes down what becomes of it.

use super::agent::{FenceAgents, Order, power_in};
use super::runs::{For, Runs, words};
use super::web::RequestBook;
use super::{FenceDevices, FencingHere, Power, Target};
use async_trait::async_trait;
use holdfast_core::read_back::{Says, believed};
use holdfast_extension_host::fencing::{Device, Fencing, Ordered};
use holdfast_extension_host::outside::{
    Action, Ended, Method, ProgramError, Programs, Reach, Request, Response, Web, WebError,
};
use holdfast_extension_host::{Called, fencing};
use holdfast_extension_ready::cost::Costs;
use holdfast_model::extension::Rights;
use holdfast_model::fence_device::ReadBack;
use holdfast_model::id::{DeviceName, ExtensionName, HostName, TargetName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Between two looks at a power that is not off yet: boards take seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Of the time that a call to a device has, so much is spent on looking, in percent.
const LOOK_PERCENT: u32 = 80;

/// What a device is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// To switch a host off, and whether it is.
    Fence,
    /// How its power stands. What would order something is not sent then, whatever the extension does.
    Look,
}

/// What an extension hears that orders something when it is only asked.
const NOT_ORDERED: &str = "not sent: it is only asked how the power stands";

/// Why nothing was read.
enum Unread {
    /// The next look may see more.
    Now(String),
    /// It will not: something is not configured.
    Never(String),
}

impl Unread {
    fn words(self) -> String {
        match self {
            Self::Now(why) | Self::Never(why) => why,
        }
    }
}

/// A fencing extension that can be asked.
pub struct ReadyFencing {
    /// It.
    pub fencing: Arc<Fencing>,
    /// What it may.
    pub rights: Rights,
    /// Where its calls are counted: those that fence, not those by which an operator looks.
    pub costs: Arc<Costs>,
}

/// Asks devices through extensions.
pub struct FenceExtensions {
    extensions: Arc<dyn FencingHere>,
    runs: Runs,
    web: Option<Arc<dyn Web>>,
}

impl FenceExtensions {
    /// With these extensions, programs for those that run any, and this way to send requests. In the book is written
    /// what is run; without one, nothing is.
    pub fn new(
        extensions: Arc<dyn FencingHere>,
        agents: Arc<FenceAgents>,
        web: Option<Arc<dyn Web>>,
        book: Option<Arc<dyn RequestBook>>,
    ) -> Self {
        Self {
            extensions,
            runs: Runs::new(agents, book),
            web,
        }
    }

    /// Those that can be asked.
    pub(super) fn ready(&self) -> BTreeSet<ExtensionName> {
        self.extensions.ready()
    }

    /// Calls an extension on a thread of its own.
    async fn call<T: Send + 'static>(
        &self,
        target: &Target,
        why: Why,
        name: &ExtensionName,
        work: impl FnOnce(&Fencing, &Device, Reach) -> Called<T> + Send + 'static,
    ) -> Result<T, String> {
        let ready = self.extensions.fencing(name)?;
        let reach = Reach {
            about: about(target, why),
            rights: ready.rights,
            bound: target.device.bind.clone(),
            web: self.web.clone().map(|web| match why {
                Why::Fence => web,
                Why::Look => Arc::new(OnlyLooks(web)) as Arc<dyn Web>,
            }),
            programs: Some(Arc::new(ForHost {
                why,
                runs: self.runs.clone(),
                about: about(target, why),
                extension: name.clone(),
                host: target.host.clone(),
                names_plug: target.device.hosts.len() > 1,
                runtime: Handle::current(),
            })),
            probes: None,
            records: None,
        };
        let device = Device {
            host: target.host.to_string(),
            name: target.name.to_string(),
            settings: target.device.options.clone().into_iter().collect(),
        };
        let called = tokio::task::spawn_blocking(move || {
            let called = work(&ready.fencing, &device, reach);
            // Whoever only looks hears himself what came of it: what is counted tells how fencing does.
            if why == Why::Fence {
                let failure = called.answer.as_ref().err().map(ToString::to_string);
                let cost = called.cost;
                ready.costs.count(cost.cpu, cost.memory_bytes, failure);
            }
            called.answer
        });
        let answer = called.await.map_err(|panic| panic.to_string())?;
        answer.map_err(|error| format!("extension {name}: {error}"))
    }

    async fn said(&self, target: &Target, why: Why, name: &ExtensionName) -> Result<Says, String> {
        let said = self.call(target, why, name, Fencing::status);
        match said.await? {
            fencing::Power::On => Ok(Says::On),
            fencing::Power::Off => Ok(Says::Off),
            fencing::Power::Unknown(why) => Err(format!("extension {name}: {why}")),
        }
    }

    /// What this machine reads itself. With a time of its own for each look.
    async fn read(&self, target: &Target, why: Why) -> Result<Says, Unread> {
        let device = &target.device;
        if let Some(back) = device.read_back.clone() {
            let web = self.web.clone();
            let web = web.ok_or_else(|| {
                Unread::Never("no requests are sent from here; the log says why".into())
            })?;
            let (host, about) = (target.host.clone(), about(target, why));
            let until = Instant::now() + Duration::from_millis(device.timeout_ms);
            let reading =
                tokio::task::spawn_blocking(move || read_web(&*web, &back, &host, about, until));
            return match reading.await {
                Ok(read) => read,
                Err(panic) => Err(Unread::Now(panic.to_string())),
            };
        }
        let program = device.read_back_program.as_ref();
        let order = Order::of(target, program).map_err(Unread::Never)?;
        let whom = For {
            about: about(target, why),
            extension: None,
        };
        let until = Instant::now() + Duration::from_millis(device.timeout_ms);
        let ended = self.runs.run(&order, Action::Status, whom, until).await;
        let ended = ended.map_err(|error| Unread::Now(words(&error).to_owned()))?;
        match power_in(&order, ended) {
            Ok(Power::On) => Ok(Says::On),
            Ok(Power::Off) => Ok(Says::Off),
            Err(why) => Err(Unread::Now(why)),
        }
    }
}

#[async_trait]
impl FenceDevices for FenceExtensions {
    async fn switch_off(&self, target: &Target) -> Result<(), String> {
        let name = extension(target)?;
        match self.call(target, Why::Fence, name, Fencing::off).await? {
            Ordered::Accepted | Ordered::Already => Ok(()),
            Ordered::Refused(why) => Err(format!("extension {name}: refused: {why}")),
            Ordered::Unknown(why) => Err(format!("extension {name}: {why}")),
        }
    }

    async fn look(&self, target: &Target) -> Result<Power, String> {
        let name = extension(target)?;
        let (said, read) = tokio::join!(
            self.said(target, Why::Look, name),
            self.read(target, Why::Look)
        );
        match believed(&said, &read.map_err(Unread::words))? {
            Says::Off => Ok(Power::Off),
            Says::On => Ok(Power::On),
        }
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        let name = extension(target)?;
        self.extensions.fencing(name)?;
        let time = Duration::from_millis(target.device.timeout_ms) * LOOK_PERCENT / 100;
        let until = Instant::now() + time;
        loop {
            let (said, read) = tokio::join!(
                self.said(target, Why::Fence, name),
                self.read(target, Why::Fence)
            );
            let never = matches!(read, Err(Unread::Never(_)));
            let found = believed(&said, &read.map_err(Unread::words));
            let over = never || Instant::now() + LOOK_EVERY > until;
            match found {
                Ok(Says::Off) => return Ok(Power::Off),
                Ok(Says::On) if over => return Ok(Power::On),
                Err(why) if over => return Err(why),
                // It was told to switch off a moment ago.
                Ok(Says::On) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

fn extension(target: &Target) -> Result<&ExtensionName, String> {
    let name = target.device.extension.as_ref();
    name.ok_or_else(|| "its device names no extension".to_owned())
}

/// Sends what asks, and nothing else.
struct OnlyLooks(Arc<dyn Web>);

impl Web for OnlyLooks {
    fn send(&self, request: &Request, until: Instant) -> Result<Response, WebError> {
        match request.method {
            Method::Get => self.0.send(request, until),
            _ => Err(WebError::Unreachable(NOT_ORDERED.to_owned())),
        }
    }
}

/// What a request is written down with.
fn about(target: &Target, why: Why) -> String {
    let Target {
        host,
        incarnation,
        attempt,
        ..
    } = target;
    if why == Why::Look {
        return format!("power of {host}, asked by an operator");
    }
    format!("fencing of {host}, life {incarnation}, attempt {attempt}")
}

/// Reads a host's power by one request.
fn read_web(
    web: &dyn Web,
    back: &ReadBack,
    host: &HostName,
    about: String,
    until: Instant,
) -> Result<Says, Unread> {
    let request = Request {
        about,
        target: back.target.clone(),
        method: Method::Get,
        path: back.path.replace("{host}", host.as_str()),
        body: None,
    };
    let answer = web.send(&request, until).map_err(|error| match error {
        WebError::NoTarget(why) => Unread::Never(why),
        WebError::Unreachable(why) | WebError::Unanswered(why) => Unread::Now(why),
    })?;
    power_at(&answer, back)
        .map_err(|why| Unread::Now(format!("{} of {}: {why}", request.path, back.target)))
}

fn power_at(answer: &Response, back: &ReadBack) -> Result<Says, String> {
    if answer.status != 200 {
        return Err(format!("HTTP status {}", answer.status));
    }
    let json: serde_json::Value =
        serde_json::from_str(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
    let found = json
        .pointer(&back.pointer)
        .ok_or_else(|| format!("has nothing at {}", back.pointer))?;
    let text = match found {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text {
        text if text == back.off => Ok(Says::Off),
        text if text == back.on => Ok(Says::On),
        other => Err(format!(
            "`{}` at {} is neither `{}` nor `{}`",
            other.chars().take(80).collect::<String>(),
            back.pointer,
            back.off,
            back.on
        )),
    }
}

/// Programs, for one host.
struct ForHost {
    runs: Runs,
    about: String,
    extension: ExtensionName,
    host: HostName,
    names_plug: bool,
    why: Why,
    runtime: Handle,
}

impl Programs for ForHost {
    fn run(
        &self,
        program: &TargetName,
        action: Action,
        arguments: &[(String, String)],
        until: Instant,
    ) -> Result<Ended, ProgramError> {
        if self.why == Why::Look && action != Action::Status {
            return Err(ProgramError::NotAllowed(NOT_ORDERED.to_owned()));
        }
        let program: DeviceName = program
            .as_str()
            .parse()
            .map_err(|error| ProgramError::NoProgram(format!("`{program}`: {error}")))?;
        let arguments = arguments.iter();
        let order = Order {
            program: &program,
            host: &self.host,
            names_plug: self.names_plug,
            options: arguments.map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        };
        let whom = For {
            about: self.about.clone(),
            extension: Some(self.extension.clone()),
        };
        let running = self.runs.run(&order, action, whom, until);
        let (exit_code, said) = self.runtime.block_on(running)?;
        Ok(Ended { exit_code, said })
    }
}

#[cfg(test)]
#[path = "extension_tests.rs"]
mod tests;
