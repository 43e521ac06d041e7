//! What a run came through, as its log tells: the states that a fault is there to bring about. A fault
//! that is drawn and leads nowhere would show here.

use aho_corasick::{AhoCorasick, BuildError};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// States, and what every line of the log about one of them says.
const STATES: [(&str, &str); 62] = [
    ("agent: guard absent", "agent: its guard is absent"),
    (
        "guard: started again",
        "guard: started, goes on from its table",
    ),
    (
        "run over: guard away at its deadline",
        "'s guard was away when it had to kill: ",
    ),
    ("agent: session opened again", "agent: session open again"),
    ("agent: life over", " is over"),
    ("view listed anew", "; it lists anew"),
    (
        "fence: session closed, lease open",
        "its storage lease is still to be looked at",
    ),
    (
        "fence: heartbeat unchanged",
        "on the lease volume has not changed for",
    ),
    ("fence: powered off", ": powered off, says "),
    ("device: switches off", "switched off by its fencing device"),
    ("device: contradicted", ": not believed"),
    ("device: contradicted by another", " says on: not believed"),
    ("device: a supply is cut", ": its supply "),
    (
        "device: two say off together",
        ": powered off, says a2-left and a2-right",
    ),
    ("device: the next order is asked", " (order 2; "),
    ("errand: sent", ": sends an errand to "),
    ("errand: taken", ": takes an errand of "),
    ("errand: declined", ": declines an errand of "),
    ("errand: not taken in time", " did not take it in "),
    (
        "errand: meant for an earlier life",
        "it has been started anew since",
    ),
    ("errand: an earlier life had it", "an earlier life of m-"),
    (
        "errand: nothing was heard of it",
        "did not say what became of it in ",
    ),
    (
        "errand: sent to an agent",
        ": sends an errand to the agent of ",
    ),
    ("errand: taken by an agent", ": agent: takes an errand of "),
    (
        "errand: declined by an agent",
        ": agent: declines an errand of ",
    ),
    (
        "errand: an earlier life of an agent had it",
        "an earlier life of the agent of ",
    ),
    (
        "errand: no session of an agent's host holds",
        " has no session that holds",
    ),
    ("errand: an agent's host may not ask", " may not ask: "),
    (
        "errand: an agent says what became of it",
        ", told by the agent of ",
    ),
    (
        "errand: nobody that may ask has what it takes",
        "and none that has what it takes is there",
    ),
    ("probes: a host is silent", " does not answer"),
    ("probes: a host is suspect", ", no answer to probes of "),
    ("fence: lapsed", ": lapsed: no heartbeat for"),
    ("fence: released", ": released by the host itself"),
    ("fence: rebooted", ": rebooted"),
    ("fence: confirmed", ": confirmed off by "),
    ("fence: asked to release", "it is asked to release"),
    (
        "guard: asked to release",
        "guard: asked to release everything",
    ),
    ("guard: kills all", "guard: the lease has lapsed; killing"),
    (
        "guard: kills unleased",
        "guard: the session has lapsed; killing",
    ),
    ("host: held down", ": held down for "),
    ("host: drained", " is drained"),
    (
        "host: left for its guard",
        "without a working guard for too long",
    ),
    ("libvirtd: started again", "libvirtd: started"),
    (
        "libvirt: a call is left behind",
        "libvirt's call is left behind",
    ),
    (
        "claim: damaged, written again",
        " is damaged; it is written again",
    ),
    (
        "claim: damaged, nothing is started",
        "its sector on the lease volume cannot be read",
    ),
    ("manager: leads", ": leads"),
    ("manager: deposed", "does not lead any more"),
    ("manager: write refused", ": refused by the store: "),
    ("migration: done", " moved to "),
    ("migration: called off", " given up: "),
    ("migration: failed", ": migration failed: "),
    ("migration: goes home", ": home to site "),
    (
        "storm brake holds",
        " fell silent together or are just back",
    ),
    ("store: leader elected", "store: voter "),
    ("store: answer lost", " is applied and its answer is lost"),
    (
        "store: leader paused at a step",
        " is applied and its leader paused",
    ),
    ("vm: started after a loss", " was lost ("),
    ("vm: start failed", "reported: start failed: "),
    ("vm: paused on an I/O error", "pauses on an I/O error"),
    (
        "vm: evacuated from bad storage",
        "stopped by force: storage is not usable",
    ),
];

/// A host that is held down for longer than after its first loss.
const HELD_LONGER: &str = "host: held down for longer";

/// Counts the lines of a log by what they tell.
pub fn states(log: &[String]) -> BTreeMap<&'static str, u64> {
    let mut found = all();
    let mut count = |name: &'static str| *found.entry(name).or_default() += 1;
    for line in log {
        for state in told(line) {
            count(STATES[state].0);
        }
        let held = line.split_once(": held down for ").map(|(_, rest)| rest);
        if held.is_some_and(|rest| !rest.starts_with("10 s")) {
            count(HELD_LONGER);
        }
    }
    found
}

/// All words at once: a log has thousands of lines, and its end is a good part of a short run.
static WORDS: LazyLock<Result<AhoCorasick, BuildError>> =
    LazyLock::new(|| AhoCorasick::new(STATES.map(|(_, words)| words)));

/// Which states a line tells of, each once.
fn told(line: &str) -> Vec<usize> {
    let Ok(words) = &*WORDS else {
        let all = STATES.iter().enumerate();
        let told = all.filter(|(_, (_, words))| line.contains(words));
        return told.map(|(state, _)| state).collect();
    };
    let mut told: Vec<usize> = words
        .find_overlapping_iter(line)
        .map(|found| found.pattern().as_usize())
        .collect();
    told.sort_unstable();
    told.dedup();
    told
}

/// Each of them, not found so far.
pub fn all() -> BTreeMap<&'static str, u64> {
    let names = STATES.iter().map(|(name, _)| *name);
    names.chain([HELD_LONGER]).map(|name| (name, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_what_they_tell() {
        let log = [
            "    1.000 m-a: leads",
            "    2.000 m-a: waits: a1: held down for 10 s after its return",
            "    3.000 m-a: waits: a1: held down for 20 s after its return",
            "    4.000 a1: something else",
        ];
        let found = states(&log.map(str::to_owned));
        assert_eq!(found["manager: leads"], 1);
        assert_eq!(found["host: held down"], 2);
        assert_eq!(found[HELD_LONGER], 1);
        assert_eq!(found.values().sum::<u64>(), 4);
        assert_eq!(found.len(), all().len());
    }

    #[test]
    fn words_that_overlap_or_come_twice_are_found() {
        let line = "m-a: b1: it is over is over; it lists anew";
        let told: Vec<&str> = told(line).iter().map(|state| STATES[*state].0).collect();
        assert_eq!(told, ["agent: life over", "view listed anew"]);
        for (state, (_, words)) in STATES.iter().enumerate() {
            assert!(super::told(words).contains(&state), "{words}");
        }
        assert!(WORDS.is_ok());
    }
}
