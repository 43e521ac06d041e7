//! What every process of the simulation shares: time, the event queue, the network, the store,
//! the ground truth and the log.

use super::bounds::{
    CALL_TIMEOUT_MS, COMMIT_MS, FAR_MS, NEAR_MS, STORE_ELECTION_MS, WATCH_IDLE_MS,
};
use super::event::{Call, Client, Event, Inbox, Queue, Request, Tag};
use super::extension::Behaviours;
use super::net::{Net, Place};
use super::san::San;
use super::truth::{Span, Stop, Truth};
use super::voters::{Voters, voter_place};
use holdfast_model::id::{HostName, ManagerName, Revision, SiteName, VmName};
use holdfast_model::time::Instant;
use holdfast_store::api::{StoreError, Txn, TxnOutcome};
use holdfast_store::guarded::Answer;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use holdfast_store::record::ReadChange;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// See the module.
#[derive(Default)]
pub struct Ctx {
    /// Milliseconds since the beginning.
    pub now: u64,
    /// What is to come.
    pub queue: Queue,
    /// Who reaches whom.
    pub net: Net,
    /// The store's members.
    pub voters: Voters,
    /// What the store has.
    pub store: MemoryStore,
    /// The storage under the lease volume.
    pub san: San,
    /// What really happens.
    pub truth: Truth,
    /// `time actor: event`.
    pub log: Vec<String>,
    /// Who watches the store, from where.
    pub watchers: BTreeMap<Client, Place>,
    /// How much longer than usual the guard's signals take, in milliseconds.
    pub kill_extra_ms: u64,
    /// What the store's watches bring: the changes since the first revision, in their order.
    written: Vec<(Revision, ReadChange)>,
    /// Until when a process's watches bring nothing.
    pub gaps: BTreeMap<Client, u64>,
    /// Watches cannot go on from before it.
    compacted: Revision,
    /// How many answers to a process's next writes are lost.
    pub lost_replies: BTreeMap<Client, u32>,
    /// After how many more steps of plans the leader that sent the last of them is to be paused, for how
    /// long.
    pub pause_leader: Option<(u32, u64)>,
    /// Managers that are to be paused now.
    pub paused: Vec<(ManagerName, u64)>,
    /// What installed extensions say.
    pub extensions: Behaviours,
    /// What a leader takes to look and plan, in milliseconds: nothing in a small cluster.
    pub plan_ms: u64,
    /// Hosts whose agents follow errands.
    pub askers: BTreeSet<HostName>,
    domains: u64,
    /// Per process, when it wakes next by its own wish.
    wakes: BTreeMap<Client, u64>,
}

impl Ctx {
    /// Writes a line of the log.
    pub fn log(&mut self, actor: impl Display, text: impl Display) {
        let (seconds, ms) = (self.now / 1_000, self.now % 1_000);
        self.log
            .push(format!("{seconds:>5}.{ms:03} {actor}: {text}"));
    }

    /// An invariant is broken; unless a guard was away when it had to kill, which is beyond what is
    /// assumed and makes all that follows prove nothing.
    pub fn violation(&mut self, text: String) {
        if self.truth.beyond.is_some() {
            return;
        }
        if let Some(why) = self.beyond(&text) {
            return self.goes_beyond(why, &text);
        }
        self.log("VIOLATION", &text);
        self.truth.violations.push(text);
    }

    /// What happens is beyond what is assumed: nothing that follows proves anything.
    pub(super) fn goes_beyond(&mut self, why: String, what: &str) {
        if self.truth.beyond.is_none() {
            self.log("BEYOND", format!("{why}: {what}"));
            self.truth.beyond = Some(why);
        }
    }

    /// Something is to happen.
    pub fn after(&mut self, ms: u64, event: Event) {
        self.queue.push(self.now + ms, event);
    }

    /// A process wants to look again then, unless it does so earlier anyway.
    pub fn wake_at(&mut self, client: &Client, when: u64) {
        let when = when.max(self.now + 1);
        match self.wakes.get_mut(client) {
            Some(planned) if *planned > self.now && *planned <= when => return,
            Some(planned) => *planned = when,
            None => drop(self.wakes.insert(client.clone(), when)),
        }
        self.queue
            .push(when, Event::To(client.clone(), Inbox::Timer));
    }

    /// A number no domain ever had.
    pub fn new_domain(&mut self) -> u64 {
        self.domains += 1;
        self.domains
    }

    /// One way between two places.
    pub fn latency_ms(from: &SiteName, to: &SiteName) -> u64 {
        if from == to { NEAR_MS } else { FAR_MS }
    }

    /// Links or voters changed.
    pub fn net_changed(&mut self) {
        if self.voters.check(&self.net) {
            self.after(STORE_ELECTION_MS, Event::Elect);
        }
    }

    /// The election is over.
    pub fn elect(&mut self) {
        let before = self.voters.leader().cloned();
        self.voters.elect(&self.net);
        let after = self.voters.leader().cloned();
        if before != after
            && let Some(leader) = after
        {
            self.log("store", format!("voter {leader} leads"));
        }
    }

    /// One way between two places, as the network is now.
    pub(super) fn way_ms(&self, from: &Place, to: &Place) -> u64 {
        Self::latency_ms(&from.site, &to.site) + self.net.delay_ms(from, to)
    }

    /// Sends a call to the store. One answer always comes, after the time-out at the latest; the
    /// call itself may get there later than that.
    pub fn call(&mut self, client: Client, place: Place, tag: Tag, request: Request) {
        let Some(voter) = self.voters.route(&self.net, &place).cloned() else {
            let answer = failed(request.writes(), |_| unavailable("no voter answers"));
            return self.answer_after(CALL_TIMEOUT_MS, client, tag, answer);
        };
        let at_voter = voter_place(&voter);
        let at_leader = voter_place(self.voters.leader().unwrap_or(&voter));
        let way = self.way_ms(&place, &at_voter)
            + self.way_ms(&at_voter, &at_leader)
            + self.net.delay_ms(&at_leader, &at_voter)
            + COMMIT_MS;
        let given_up = way >= CALL_TIMEOUT_MS;
        if given_up {
            let answer = unanswered(request.writes(), &voter);
            self.answer_after(CALL_TIMEOUT_MS, client.clone(), tag.clone(), answer);
        }
        let call = Call {
            client,
            place,
            tag,
            request,
            sent_at: self.now,
            given_up,
            voter,
        };
        self.after(way, Event::Arrive(Box::new(call)));
    }

    fn answer_after(&mut self, ms: u64, client: Client, tag: Tag, answer: Answer) {
        self.after(ms, Event::To(client, Inbox::Reply(tag, answer)));
    }

    /// A call reaches the store.
    pub fn arrive(&mut self, call: Call) {
        let voter = voter_place(&call.voter);
        let left = (call.sent_at + CALL_TIMEOUT_MS).saturating_sub(self.now);
        if !self.voters.serves(&self.net, &call.voter) || !self.net.passes(&call.place, &voter) {
            if !call.given_up {
                let broke = |_| unavailable("the connection broke");
                let answer = failed(call.request.writes(), broke);
                self.answer_after(left, call.client, call.tag, answer);
            }
            return;
        }
        let writes = call.request.writes();
        self.pauses_leader(&call.client, &call.tag);
        let answer = match call.request {
            Request::List(prefix) => Answer::Read(Ok(self.store.list_now(&prefix))),
            Request::Txn(txn) => Answer::Txn(Ok(self.apply(&call.client, txn))),
        };
        if call.given_up {
            return;
        }
        let way = self.way_ms(&voter, &call.place);
        let lost = self.loses_reply(&call.client, &call.tag);
        if way <= left && self.net.passes(&voter, &call.place) && !lost {
            self.answer_after(way, call.client, call.tag, answer);
        } else {
            let answer = unanswered(writes, &call.voter);
            self.answer_after(left, call.client, call.tag, answer);
        }
    }

    /// Whether a scenario wants the answer to this write lost.
    fn loses_reply(&mut self, client: &Client, tag: &Tag) -> bool {
        let of_a_decision = matches!(tag, Tag::Step(..) | Tag::Round);
        let left = self.lost_replies.get_mut(client);
        let Some(left) = left.filter(|left| of_a_decision && **left > 0) else {
            return false;
        };
        *left -= 1;
        let who = match client {
            Client::Manager(name, _) => name.to_string(),
            Client::Agent(host, _) => host.to_string(),
        };
        self.log(
            "store",
            format!("a write of {who} is applied and its answer is lost"),
        );
        true
    }

    /// Whether a scenario wants the leader to stand still after this step.
    fn pauses_leader(&mut self, client: &Client, tag: &Tag) {
        let (Client::Manager(name, _), Tag::Step(why, _)) = (client, tag) else {
            return;
        };
        let Some((left, ms)) = self.pause_leader.take() else {
            return;
        };
        if left > 1 {
            self.pause_leader = Some((left - 1, ms));
            return;
        }
        self.paused.push((name.clone(), ms));
        let text = format!("`{why}` is applied and its leader paused for {ms} ms");
        self.log("store", text);
    }

    fn apply(&mut self, client: &Client, txn: Txn) -> TxnOutcome {
        // Nothing else happens in between: if it holds now, it will be applied.
        if self.store.holds_now(&txn.compares) {
            self.check_writes(client, &txn);
        }
        let outcome = self.store.txn_now(txn);
        if let TxnOutcome::Committed(revision) = outcome {
            self.notify(revision);
        }
        outcome
    }

    /// A write of an operator or of the scenario itself. False: the store has no majority.
    pub fn operator_txn(&mut self, txn: Txn) -> Option<TxnOutcome> {
        self.voters.leader()?;
        let outcome = self.store.txn_now(txn);
        if let TxnOutcome::Committed(revision) = outcome {
            self.notify(revision);
        }
        Some(outcome)
    }

    /// Watches get what was just written.
    fn notify(&mut self, revision: Revision) {
        let before = Revision(revision.0 - 1);
        let mut keys = Vec::new();
        let written = &mut self.written;
        let seen = self.store.each_change(before, |change| {
            let change = ReadChange::of(change);
            keys.push(change.key().cloned());
            written.push((revision, change));
        });
        if seen.is_err() {
            return; // compacted already, which only the next line does
        }
        // What watches bring is kept here, read.
        self.store.compact(revision);
        let watchers = std::mem::take(&mut self.watchers);
        for (client, place) in &watchers {
            let of = |key: &Option<Key>| concerns(client, key.as_ref(), &self.askers);
            if keys.iter().any(of) {
                self.push_watch(client, place, revision);
            }
        }
        self.watchers = watchers;
    }

    /// Has a view take in what a watch of these prefixes brings. True: some of it counts for whoever
    /// asks.
    pub fn bring<P: AsRef<str>>(
        &self,
        view: &mut View,
        prefixes: &[P],
        (after, upto): (Revision, Revision),
        now: Instant,
        mut counts: impl FnMut(&View, &ReadChange) -> bool,
    ) -> bool {
        // From the end: a watch has missed little.
        let known = self.written.iter().rposition(|(at, _)| *at <= after);
        let start = known.map_or(0, |last| last + 1);
        let sent = self.written[start..].iter();
        let mut any = false;
        for (_, change) in sent.take_while(|(at, _)| *at <= upto) {
            let is_under = |prefix: &P| change.path().starts_with(prefix.as_ref());
            if prefixes.iter().any(is_under) {
                any |= counts(view, change);
                view.see(change, now);
            }
        }
        view.complete(upto);
        any
    }

    /// The store forgets what was before a revision.
    pub fn compact(&mut self, at: Revision) {
        self.store.compact(at);
        self.compacted = self.compacted.max(at);
    }

    /// Whether what follows a revision is not all there any more.
    pub fn is_behind(&self, after: Revision) -> bool {
        after.0 + 1 < self.compacted.0
    }

    /// What a watch that is behind is told.
    pub fn compacted(&self) -> StoreError {
        StoreError::Compacted(self.compacted)
    }

    /// Watches of idle keys say that they are complete.
    pub fn watches_idle(&mut self) {
        let revision = self.store.revision();
        let watchers = std::mem::take(&mut self.watchers);
        for (client, place) in &watchers {
            self.push_watch(client, place, revision);
        }
        self.watchers = watchers;
        self.after(WATCH_IDLE_MS, Event::WatchesIdle);
    }

    fn push_watch(&mut self, client: &Client, place: &Place, revision: Revision) {
        let gap = self.gaps.get(client);
        if gap.is_some_and(|until| self.now < *until) {
            return;
        }
        let Some(voter) = self.voters.route(&self.net, place) else {
            return;
        };
        // Sent with every write to everybody: in a network that is whole nothing is looked up for it.
        let way = if self.net.is_whole() {
            Self::latency_ms(voter, &place.site)
        } else {
            let voter = voter_place(voter);
            if !self.net.connects(place, &voter) {
                return;
            }
            self.way_ms(&voter, place)
        };
        self.after(way, Event::To(client.clone(), Inbox::Watch(revision)));
    }

    /// A domain's vCPUs are set going.
    pub fn begin(&mut self, vm: &VmName, span: Span, image_at: Option<u64>) {
        self.check_start(vm, &span, image_at);
        let how = if span.cold { "boots" } else { "goes on" };
        self.log(
            &span.host,
            format!("{vm} {how}, generation {}", span.generation),
        );
        if let Some(text) = self.truth.begin(vm, span) {
            self.violation(text);
        }
    }

    /// A domain's vCPUs stopped, if they ran.
    pub fn end(&mut self, vm: &VmName, domain: u64, stop: &Stop, words: &str) {
        let Some(span) = self.truth.end(vm, domain, self.now) else {
            return;
        };
        if *stop != Stop::Migration {
            self.log(&span.host, format!("{vm} {words}"));
        }
        self.check_stop(vm, &span, stop);
    }
}

/// Whether a client watches a key.
fn concerns(client: &Client, key: Option<&Key>, askers: &BTreeSet<HostName>) -> bool {
    let Client::Agent(own, _) = client else {
        return true;
    };
    match key {
        Some(
            Key::HostSpec(host)
            | Key::HostSession(host)
            | Key::HostReport(host)
            | Key::HostState(host)
            | Key::HostVm(host, _)
            | Key::HostSaw(host, _)
            | Key::HostAsks(host),
        ) => host == own,
        Some(Key::Errand(..)) => askers.contains(own),
        Some(Key::VmSpec(_) | Key::VmOwner(_) | Key::Fence(..) | Key::Policy | Key::Cluster) => {
            true
        }
        _ => false,
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        tried: "all voters".to_owned(),
        reason: reason.to_owned(),
    }
}

/// Nobody answered in time: a write may have happened.
fn unanswered(writes: bool, voter: &SiteName) -> Answer {
    let endpoint = voter.to_string();
    failed(writes, |write| match write {
        true => StoreError::OutcomeUnknown { endpoint },
        false => unavailable("no answer"),
    })
}

fn failed(writes: bool, error: impl FnOnce(bool) -> StoreError) -> Answer {
    match writes {
        true => Answer::Txn(Err(error(true))),
        false => Answer::Read(Err(error(false))),
    }
}
