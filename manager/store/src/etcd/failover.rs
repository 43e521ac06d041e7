//! One call over several endpoints.
//!
//! ```text
//!  0 ──────► first endpoint (the one that answered last)
//!  1/5 ────────────► the next, if nothing came      … and so on, twice around
//!  1 ───────────────────────────────────────────────► deadline
//! ```
//! A frozen member costs a fifth of the deadline once; after that the one that answered is asked
//! first. A call that must not be repeated is sent on only when an endpoint has certainly not
//! carried it out.

use super::endpoint::Endpoint;
use super::fault::Fault;
use crate::api::StoreError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Parts of the deadline after which the next endpoint is asked.
const HEDGES: u32 = 5;
/// Wait before asking all endpoints again after all of them said no (an election).
const BACKOFF: Duration = Duration::from_millis(100);
/// Attempts of one call, whatever happens: no storm when every answer is an instant error.
const ATTEMPTS_MAX: usize = 64;

/// Whether copies of a call may be under way at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Reads, and writes of which only one copy can happen.
    Freely,
    /// Only when the last attempt was certainly not carried out.
    NotDoneOnly,
}

/// Why no attempt succeeded.
#[derive(Debug)]
pub(super) enum Failed {
    /// No attempt was carried out.
    NotDone { reason: String },
    /// One may have been.
    Unknown { endpoint: String, reason: String },
    /// Asking again will not help.
    Final(StoreError),
}

/// The endpoints and which of them answered last.
pub(super) struct Endpoints {
    pub(super) all: Vec<Arc<Endpoint>>,
    preferred: AtomicUsize,
    pub(super) deadline: Duration,
}

/// What is known of the other copies of a call when one is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Others {
    /// Another copy may have been carried out, or may still be.
    pub(super) unsure: bool,
}

impl Endpoints {
    pub(super) fn new(urls: Vec<String>, deadline: Duration) -> Self {
        let all = urls
            .into_iter()
            .map(|url| Arc::new(Endpoint::new(url)))
            .collect();
        Self {
            all,
            preferred: AtomicUsize::new(0),
            deadline,
        }
    }

    /// All of them, the one that answered last first.
    pub(super) fn in_order(&self) -> Vec<(usize, Arc<Endpoint>)> {
        let first = self.preferred();
        let rest = (0..self.all.len()).filter(|index| *index != first);
        let order = std::iter::once(first).chain(rest);
        order
            .filter_map(|index| Some((index, self.all.get(index)?.clone())))
            .collect()
    }

    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    pub(super) fn prefer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
    }

    /// All addresses, for messages.
    pub(super) fn tried(&self) -> String {
        let urls: Vec<&str> = self
            .all
            .iter()
            .map(|endpoint| endpoint.url.as_str())
            .collect();
        urls.join(", ")
    }

    /// Runs `attempt` on one endpoint after the other until one answers or the deadline passes.
    pub(super) async fn call<T, F>(
        &self,
        repeat: Repeat,
        attempt: impl Fn(Arc<Endpoint>) -> F,
    ) -> Result<(T, Others), Failed>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let order = self.in_order();
        let end = Instant::now() + self.deadline;
        let mut call = Call::new(repeat, order.len());
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some((index, url, result)) = running.next(), if !running.is_empty() => {
                    match result {
                        Ok(value) => {
                            self.prefer(index);
                            return Ok((value, call.others(running.len())));
                        }
                        Err(fault) => call.fault(url, fault, running.len())?,
                    }
                }
                () = tokio::time::sleep_until(end) => break,
                () = tokio::time::sleep_until(call.next_start), if call.may_start(running.len()) => {
                    let Some((index, endpoint)) = order.get(call.turn()).cloned() else { break };
                    let url = endpoint.url.clone();
                    let result = attempt(endpoint);
                    running.push(async move { (index, url, result.await) });
                    call.start(self.deadline / HEDGES);
                }
            }
        }
        // No answer in time. The next call begins elsewhere.
        if let Some((next, _)) = order.get(1) {
            self.prefer(*next);
        }
        let silence = format!("no answer within {} ms", self.deadline.as_millis());
        Err(call.give_up(running.len(), (self.tried(), silence)))
    }
}

/// One call's attempts so far.
struct Call {
    repeat: Repeat,
    endpoints: usize,
    started: usize,
    next_start: Instant,
    /// An attempt ended, and may have been carried out.
    unsure: bool,
    /// The last error and whose it was.
    last: Option<(String, String)>,
}

impl Call {
    fn new(repeat: Repeat, endpoints: usize) -> Self {
        let next_start = Instant::now();
        Self {
            repeat,
            endpoints,
            started: 0,
            next_start,
            unsure: false,
            last: None,
        }
    }

    fn may_start(&self, running: usize) -> bool {
        let sound = self.repeat == Repeat::Freely || (running == 0 && !self.unsure);
        sound && self.started < ATTEMPTS_MAX && running < 2 * self.endpoints
    }

    /// Whose turn it is, counted in the order of this call.
    fn turn(&self) -> usize {
        self.started.checked_rem(self.endpoints).unwrap_or(0)
    }

    /// An attempt was started; the next one is due after `hedge` if nothing comes.
    fn start(&mut self, hedge: Duration) {
        self.started += 1;
        self.next_start = Instant::now() + hedge;
    }

    fn others(&self, running: usize) -> Others {
        Others {
            unsure: self.unsure || running > 0,
        }
    }

    /// An attempt failed. An error if that decides the call.
    fn fault(&mut self, endpoint: String, fault: Fault, running: usize) -> Result<(), Failed> {
        let reason = fault.text();
        match fault {
            Fault::Final(_) if self.others(running).unsure => {
                return Err(Failed::Unknown { endpoint, reason });
            }
            Fault::Final(error) => return Err(Failed::Final(error)),
            Fault::Unknown(_) if self.repeat == Repeat::NotDoneOnly => {
                return Err(Failed::Unknown { endpoint, reason });
            }
            Fault::Unknown(_) => self.unsure = true,
            Fault::NotDone(_) => {}
        }
        // The next endpoint at once; after a whole round of errors, a breath.
        let round_is_over = self.turn() == 0;
        self.next_start = Instant::now()
            + if round_is_over {
                BACKOFF
            } else {
                Duration::ZERO
            };
        self.last = Some((endpoint, reason));
        Ok(())
    }

    fn give_up(self, running: usize, silence: (String, String)) -> Failed {
        let unsure = self.others(running).unsure;
        let (endpoint, reason) = match self.last {
            Some((endpoint, text)) => (endpoint.clone(), format!("{endpoint}: {text}")),
            None => silence,
        };
        match unsure {
            true => Failed::Unknown { endpoint, reason },
            false => Failed::NotDone { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const DEADLINE: Duration = Duration::from_millis(1_500);

    /// How an endpoint behaves: its answer, or silence.
    #[derive(Clone, Copy)]
    enum Member {
        Answers(u64),
        Silent,
        Refuses,
        Breaks,
    }

    /// Calls these members; the result and who was asked when, in virtual milliseconds.
    async fn call(
        endpoints: &Endpoints,
        repeat: Repeat,
        members: &[Member],
    ) -> (Result<(usize, Others), Failed>, Vec<(usize, u64)>) {
        let start = Instant::now();
        let asked = Mutex::new(Vec::new());
        let attempt = |endpoint: Arc<Endpoint>| {
            let index: usize = endpoint.url.parse().expect("a number");
            let ms = u64::try_from(start.elapsed().as_millis()).expect("short");
            asked.lock().expect("sound").push((index, ms));
            let member = members[index];
            async move {
                match member {
                    Member::Answers(after_ms) => {
                        tokio::time::sleep(Duration::from_millis(after_ms)).await;
                        Ok(index)
                    }
                    Member::Silent => std::future::pending().await,
                    Member::Refuses => Err(Fault::NotDone("no leader".into())),
                    Member::Breaks => Err(Fault::Unknown("broken pipe".into())),
                }
            }
        };
        let result = endpoints.call(repeat, attempt).await;
        (result, asked.into_inner().expect("sound"))
    }

    fn three() -> Endpoints {
        Endpoints::new((0..3).map(|n| n.to_string()).collect(), DEADLINE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_member_costs_a_fifth_of_the_deadline_once() {
        use Member::{Answers, Silent};
        let endpoints = three();
        let members = [Silent, Answers(1), Answers(1)];
        let (result, asked) = call(&endpoints, Repeat::Freely, &members).await;
        assert!(
            matches!(result, Ok((1, Others { unsure: true }))),
            "{result:?}"
        );
        assert_eq!(asked, [(0, 0), (1, 300)]);
        let (result, asked) = call(&endpoints, Repeat::Freely, &members).await;
        assert!(
            matches!(result, Ok((1, Others { unsure: false }))),
            "{result:?}"
        );
        assert_eq!(asked, [(1, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_not_be_repeated_is_not() {
        use Member::{Answers, Breaks, Refuses, Silent};
        let once = Repeat::NotDoneOnly;
        let (result, asked) = call(&three(), once, &[Silent, Answers(1), Answers(1)]).await;
        assert!(matches!(result, Err(Failed::Unknown { .. })), "{result:?}");
        assert_eq!(asked, [(0, 0)]);
        let (result, asked) = call(&three(), once, &[Breaks, Answers(1), Answers(1)]).await;
        assert!(matches!(result, Err(Failed::Unknown { .. })), "{result:?}");
        assert_eq!(asked, [(0, 0)]);
        // Certainly not carried out: the next one.
        let (result, asked) = call(&three(), once, &[Refuses, Answers(1), Answers(1)]).await;
        assert!(
            matches!(result, Ok((1, Others { unsure: false }))),
            "{result:?}"
        );
        assert_eq!(asked, [(0, 0), (1, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn instant_errors_are_asked_again_with_a_breath_until_the_deadline() {
        use Member::Refuses;
        let (result, asked) = call(&three(), Repeat::Freely, &[Refuses; 3]).await;
        let Err(Failed::NotDone { reason }) = result else {
            panic!("{result:?}")
        };
        assert!(reason.contains("no leader"), "{reason}");
        assert_eq!(asked[..4], [(0, 0), (1, 0), (2, 0), (0, 100)]);
        assert!(asked.len() <= ATTEMPTS_MAX && asked.last().is_some_and(|(_, ms)| *ms >= 1_300));
    }

    #[tokio::test(start_paused = true)]
    async fn all_silent_ends_with_the_deadline_and_moves_on() {
        use Member::Silent;
        let endpoints = three();
        let start = Instant::now();
        let (result, asked) = call(&endpoints, Repeat::Freely, &[Silent; 3]).await;
        assert!(matches!(result, Err(Failed::Unknown { .. })), "{result:?}");
        assert_eq!(start.elapsed(), DEADLINE);
        assert_eq!(
            asked.iter().map(|(who, _)| *who).collect::<Vec<_>>(),
            [0, 1, 2, 0, 1]
        );
        assert_ne!(endpoints.preferred(), 0, "the next call begins elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_for_good_is_not_certain_while_another_copy_is_under_way() {
        let refuse = || Fault::Final(StoreError::Refused("no".into()));
        let mut call = Call::new(Repeat::Freely, 3);
        assert!(matches!(
            call.fault("a".into(), refuse(), 0),
            Err(Failed::Final(_))
        ));
        assert!(matches!(
            call.fault("a".into(), refuse(), 1),
            Err(Failed::Unknown { .. })
        ));
    }
}
