//! Programs that extensions have run, and by which this machine reads back what they say: each is written down before
//! it is started, and when it has ended.
//!
//! ```text
//! found, may be run? ─> written down ─> started ─> ended ──────────┐
//!        └ nothing is started ┘            └─ given up: killed ────┴─> what became of it is written down
//! ```

use super::agent::{FenceAgents, NotRun, Order};
use super::web::{NotedRun, RequestBook, RequestId, RunEnd};
use holdfast_extension_host::outside::{Action, ProgramError};
use holdfast_model::fence_device::{OptionKind, option_kind};
use holdfast_model::id::ExtensionName;
use holdfast_store::clock::wall;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::time::timeout_at;

/// So many of what a program is told are written down, and so many characters of each.
const ARGUMENTS: usize = 32;
const ARGUMENT_CHARS: usize = 120;
/// What is not written down of an argument, or is left out.
const NOT_SHOWN: &str = "…";
/// An argument that has one of these in its name may be a secret, wherever it came from.
const SECRETS: [&str; 7] = [
    "pass",
    "secret",
    "token",
    "key",
    "community",
    "credential",
    "auth",
];

/// For whom a program is run.
pub(super) struct For {
    /// Which host's power, which life of it.
    pub about: String,
    /// Who wants it; none: this machine itself.
    pub extension: Option<ExtensionName>,
}

/// Runs the programs of `[fence_agents]`.
#[derive(Clone)]
pub(super) struct Runs {
    agents: Arc<FenceAgents>,
    book: Option<Arc<dyn RequestBook>>,
}

impl Runs {
    /// Each is written down there; without a book none is started.
    pub(super) fn new(agents: Arc<FenceAgents>, book: Option<Arc<dyn RequestBook>>) -> Self {
        Self { agents, book }
    }

    /// Its exit code, and its last words. One that is given up is killed, with all that it has started.
    pub(super) async fn run(
        &self,
        order: &Order<'_>,
        action: Action,
        whom: For,
        until: Instant,
    ) -> Result<(Option<i32>, String), ProgramError> {
        let program = order.program;
        let late = |_| {
            let why = format!("there is no time left for {program}, and it was not started");
            ProgramError::NotStarted(why)
        };
        let ends_at = until.into();
        let prepared = self.agents.prepare(order, action.word());
        let prepared = timeout_at(ends_at, prepared).await.map_err(late)??;
        let noted = NotedRun {
            about: whom.about,
            extension: whom.extension,
            program: program.clone(),
            action: action.word().to_owned(),
            arguments: told(order),
            at: wall(),
        };
        let writing = timeout_at(ends_at, self.write(noted));
        let mut note = writing.await.map_err(late)?.map_err(|why| {
            let why = format!("{program} was not started: it could not be written down: {why}");
            ProgramError::NotStarted(why)
        })?;
        note.starts();
        let ended = timeout_at(ends_at, prepared.run()).await;
        let (end, answer) = match ended {
            Ok(Ok((Some(code), said))) => (RunEnd::ExitCode(code), Ok((Some(code), said))),
            Ok(Ok((None, said))) => {
                let why = "a signal ended it".to_owned();
                (RunEnd::Killed(why), Ok((None, said)))
            }
            Ok(Err(not_run)) => {
                let error = ProgramError::from(not_run);
                (RunEnd::NotStarted(words(&error).to_owned()), Err(error))
            }
            Err(_) => {
                let why = format!("{program} did not end in time and was killed");
                (
                    RunEnd::Killed("it did not end in time and was killed".to_owned()),
                    Err(ProgramError::Unanswered(why)),
                )
            }
        };
        // Whoever asked has its answer even if the disk takes longer.
        let _ = timeout_at(ends_at, note.ends(end)).await;
        answer
    }

    /// Writes down that a program is about to be started.
    async fn write(&self, noted: NotedRun) -> Result<Note, String> {
        let book = self.book.clone();
        let book = book.ok_or("there is no journal here; the log says why")?;
        let writing = tokio::task::spawn_blocking(move || {
            let id = RequestId::new();
            book.before_run(id, &noted)?;
            // From here on its end is written down as well, also if nobody waits for this any more.
            Ok(Note {
                book,
                id,
                begun: None,
                is_ended: false,
            })
        });
        writing.await.map_err(|panic| panic.to_string())?
    }
}

/// In words.
pub(super) fn words(error: &ProgramError) -> &str {
    match error {
        ProgramError::NoProgram(why)
        | ProgramError::NotAllowed(why)
        | ProgramError::NotStarted(why)
        | ProgramError::Unanswered(why) => why,
    }
}

impl From<NotRun> for ProgramError {
    fn from(why: NotRun) -> Self {
        match why {
            NotRun::NoProgram(why) => Self::NoProgram(why),
            NotRun::NotAllowed(why) => Self::NotAllowed(why),
            NotRun::NotStarted(why) => Self::NotStarted(why),
        }
    }
}

/// What a program is told, as it is written down. The name of a file with a secret is none.
fn told(order: &Order<'_>) -> Vec<String> {
    let plug = order.names_plug.then_some(("plug", order.host.as_str()));
    let all = plug.into_iter().chain(order.options.iter().copied());
    let mut told: Vec<String> = all
        .map(|(name, value)| {
            let is_file = matches!(option_kind(name, value), Ok(OptionKind::Secret(_)));
            match !is_file && SECRETS.iter().any(|part| name.contains(part)) {
                true => cut(&format!("{name}={NOT_SHOWN}")),
                false => cut(&format!("{name}={value}")),
            }
        })
        .collect();
    if told.len() > ARGUMENTS {
        told.truncate(ARGUMENTS);
        told.push(NOT_SHOWN.to_owned());
    }
    told
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ARGUMENT_CHARS) {
        Some((end, _)) => format!("{}{NOT_SHOWN}", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A program whose end is written down, also if it is given up.
struct Note {
    book: Arc<dyn RequestBook>,
    id: RequestId,
    /// When it was started; none: it never was.
    begun: Option<Instant>,
    is_ended: bool,
}

impl Note {
    /// From here on something may be done.
    fn starts(&mut self) {
        self.begun = Some(Instant::now());
    }

    /// Writes it down, on a thread of its own: that takes the disk's time.
    async fn ends(mut self, end: RunEnd) {
        self.is_ended = true;
        let took_ms = self.took_ms();
        let (book, id) = (self.book.clone(), self.id);
        let writing = tokio::task::spawn_blocking(move || book.after_run(id, &end, took_ms));
        if let Err(panic) = writing.await {
            tracing::error!(%panic, "what became of a program could not be written down");
        }
    }

    fn took_ms(&self) -> u64 {
        let took = self.begun.map_or(0, |begun| begun.elapsed().as_millis());
        u64::try_from(took).unwrap_or(u64::MAX)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        let end = match self.begun {
            Some(_) => {
                RunEnd::Killed("nobody waited for it any more, and it was killed".to_owned())
            }
            None => RunEnd::NotStarted("nobody waited for it any more".to_owned()),
        };
        let (book, id, took_ms) = (self.book.clone(), self.id, self.took_ms());
        let write = move || book.after_run(id, &end, took_ms);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_and_nothing_endless_is_written_down() {
        let (program, host) = (
            "fence_x".parse().expect("a name"),
            "a1".parse().expect("a name"),
        );
        let long = "x".repeat(1_000);
        let mut order = Order {
            program: &program,
            host: &host,
            names_plug: true,
            options: vec![
                ("ip", "192.0.2.1"),
                ("passwd", "hunter2"),
                ("passwd_file", "a1.ipmi"),
                ("snmp_auth_prot", "hunter2"),
                ("x", &long),
            ],
        };
        let found = told(&order);
        let expected = ["plug=a1", "ip=192.0.2.1", "passwd=…", "passwd_file=a1.ipmi"];
        assert_eq!(found[..4], expected);
        assert_eq!(found[4], "snmp_auth_prot=…");
        assert_eq!(found[5].chars().count(), ARGUMENT_CHARS + 1);
        order.options = vec![("x", "1"); 100];
        let found = told(&order);
        assert_eq!((found.len(), found[ARGUMENTS].as_str()), (33, NOT_SHOWN));
    }
}
