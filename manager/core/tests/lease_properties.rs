//! The law of the storage plane: by the time an observer may call a life's plane lapsed, its VMs have
//! been killed. On two clocks that drift, with writes that are slow, fail, or are applied without an
//! acknowledgement, and with a replica that is left behind at times.
#![allow(clippy::unwrap_used)]

use holdfast_core::guardian::deadline::{Deadline, Verdict};
use holdfast_core::lease::keeper::{Identity, Keeper};
use holdfast_core::lease::observer::{Finding, Observer, ReadTimes};
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::Incarnation;
use holdfast_model::lease::Heartbeat;
use holdfast_model::time::Instant;
use holdfast_model::timing::required_taker_wait_ms;
use proptest::prelude::*;

const DEADLINE_MS: u32 = 4_000;
const KILL_MS: u32 = 1_000;
const STEP_MS: u64 = 10;

/// A clock of one machine: steady time with a drift in parts per million.
#[derive(Clone, Copy)]
struct Clock(i64);

impl Clock {
    fn at(self, now: u64) -> Instant {
        let drift = i128::from(now) * i128::from(self.0) / 1_000_000;
        Instant(u64::try_from(i128::from(now) + drift).unwrap() + 50_000)
    }
}

/// A small generator of numbers: the draws of one run follow from its seed. Once it is calm, nothing
/// fails any more and everything is quick.
struct Random {
    state: u64,
    calm: bool,
}

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % end
    }

    /// One time in so many.
    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0 && !self.calm
    }

    /// Mostly short, sometimes seconds.
    fn delay(&mut self) -> u64 {
        match self.below(20) {
            _ if self.calm => self.below(30),
            0 => self.below(6_000),
            1..4 => self.below(500),
            _ => self.below(30),
        }
    }
}

/// What happens to a write: when the storage applies it and when its end is told.
struct Write<T> {
    value: T,
    sent: u64,
    applied: Option<u64>,
    told: u64,
    succeeds: bool,
}

impl<T> Write<T> {
    fn draw(value: T, now: u64, random: &mut Random, broken: bool) -> Self {
        let applied = now + random.delay();
        let told = applied + random.delay();
        let fails = broken || random.one_in(12);
        let lost = fails && random.below(2) == 0;
        Self {
            value,
            sent: now,
            applied: (!lost).then_some(applied),
            told,
            succeeds: !fails,
        }
    }
}

fn life() -> Incarnation {
    "life".parse().unwrap()
}

struct Run {
    random: Random,
    runner_clock: Clock,
    observer_clock: Clock,
    keeper: Keeper,
    deadline: Deadline,
    observer: Observer,
    sector: Option<Heartbeat>,
    /// The same, as the replica that is left behind has it.
    behind: Option<Heartbeat>,
    behind_until: u64,
    write: Option<Write<Heartbeat>>,
    own: Option<Write<()>>,
    read: Option<(u64, u64, u64, Option<Heartbeat>)>,
    /// Its other plane is renewed until then; it is closed a taker's wait later.
    control_until: u64,
    killed_at: Option<u64>,
}

impl Run {
    fn new(seed: u64, drifts: (i64, i64), control_until: u64) -> Self {
        let runner_clock = Clock(drifts.0);
        let mut deadline = Deadline::new();
        let bounds = RunnerBounds {
            runner_deadline_ms: DEADLINE_MS.into(),
            kill_bound_ms: KILL_MS.into(),
            watchdog_bound_ms: 0,
        };
        let start = runner_clock.at(0);
        deadline.arm(life(), bounds, true, true, start).unwrap();
        let identity = Identity {
            host: "a1".parse().unwrap(),
            incarnation: life(),
            boot_id: "boot".parse().unwrap(),
            period_ms: 1_000,
            runner_deadline_ms: DEADLINE_MS,
            kill_bound_ms: KILL_MS,
            watchdog_bound_ms: 0,
        };
        Self {
            random: Random {
                state: seed | 1,
                calm: false,
            },
            runner_clock,
            observer_clock: Clock(drifts.1),
            keeper: Keeper::new(identity, start),
            deadline,
            observer: Observer::default(),
            sector: None,
            behind: None,
            behind_until: 0,
            write: None,
            own: None,
            read: None,
            control_until,
            killed_at: None,
        }
    }

    /// Its host stands still from then on, or loses the storage at times: its writes end late.
    fn runner(&mut self, now: u64, broken: bool) {
        let clock = self.runner_clock.at(now);
        if let Some(write) = self.write.take_if(|write| write.told <= now) {
            match write.succeeds {
                true => {
                    if let Some(sent) = self.keeper.written(write.value.counter) {
                        self.deadline.storage_renewed(&life(), sent, clock);
                    }
                }
                false => self.keeper.failed(write.value.counter, clock),
            }
        }
        if now <= self.control_until {
            self.deadline.renewed(&life(), clock, clock);
        }
        if self.deadline.tick(clock) == Verdict::KillAll {
            self.killed_at.get_or_insert(now);
        }
        if self.killed_at.is_none()
            && let Some(value) = self.keeper.poll(clock)
        {
            self.write = Some(Write::draw(value, now, &mut self.random, broken));
        }
    }

    fn storage(&mut self, now: u64) {
        if now >= self.behind_until {
            self.behind = self.sector.clone();
            if self.random.one_in(400) {
                self.behind_until = now + self.random.below(9_000);
            }
        }
        if let Some(write) = &mut self.write
            && write.applied.take_if(|at| *at <= now).is_some()
        {
            self.sector = Some(write.value.clone());
        }
    }

    fn observer(&mut self, now: u64) {
        let clock = self.observer_clock;
        let cut_off = now < self.behind_until;
        if let Some(write) = self.own.take_if(|write| write.told <= now) {
            if write.succeeds {
                let (sent, told) = (clock.at(write.sent), clock.at(now));
                self.observer.own_write_succeeded(sent, told);
            }
        } else if self.own.is_none() && self.random.below(30) == 0 {
            self.own = Some(Write::draw((), now, &mut self.random, cut_off));
        } else if let Some(own) = &mut self.own
            && cut_off
            && own.applied.is_some_and(|at| at > now)
        {
            own.succeeds = false; // what was under way when the quorum was lost
        }
        match &mut self.read {
            None => {
                let at = now + self.random.delay();
                let end = at + self.random.delay();
                self.read = Some((now, at, end, None));
            }
            Some((_, at, _, found)) if *at == now || (*at < now && found.is_none()) => {
                *found = match cut_off {
                    true => self.behind.clone(),
                    false => self.sector.clone(),
                };
                *at = u64::MAX;
            }
            Some(_) => {}
        }
        if let Some((began, _, _, found)) = self
            .read
            .take_if(|read| read.2 <= now && read.1 == u64::MAX)
        {
            let times = ReadTimes {
                began: clock.at(began),
                ended: clock.at(now),
            };
            match found {
                Some(found) => self.observer.saw(0, &found, times),
                None => self.observer.saw_nothing(0),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_evidence_before_the_kill(
        seed in any::<u64>(),
        drifts in (-1_000i64..=1_000, -1_000i64..=1_000),
        broken_from in 0u64..40_000,
        broken_for in 0u64..20_000,
        control_until in 0u64..30_000,
    ) {
        let mut run = Run::new(seed, drifts, control_until);
        let life = life();
        let wait = required_taker_wait_ms(u64::from(DEADLINE_MS), u64::from(KILL_MS), 0);
        let mut proven = false;
        for now in (0..120_000).step_by(STEP_MS as usize) {
            run.random.calm = now > 60_000;
            let broken = (broken_from..broken_from + broken_for).contains(&now);
            run.storage(now);
            run.runner(now, broken);
            run.observer(now);
            // A leader saw its last renewal no earlier than it was sent, and waited on a clock that
            // may run fast.
            let closed = control_until + wait * 999 / 1_000;
            let learned = run.observer_clock.at(closed);
            if now >= closed
                && let Finding::Holding { unchanged_ms: for_ms, .. } =
                    run.observer.finding(0, &life, learned)
                && for_ms >= wait
            {
                proven = true;
                let gone = run.killed_at.map(|at| at + u64::from(KILL_MS));
                prop_assert!(
                    gone.is_some_and(|gone| gone <= now),
                    "at {now}: unchanged for {for_ms} ms, killed at {:?}", run.killed_at
                );
            }
        }
        // And it is not for ever: once the storage is calm, a life that was killed is found out.
        // One that never wrote has no such plane.
        if run.sector.is_some() && run.killed_at.is_some_and(|at| at < 60_000) {
            prop_assert!(proven, "killed at {:?} and never found out", run.killed_at);
        }
    }
}
