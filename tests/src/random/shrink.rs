//! Shrinking: of a long scenario that breaks an invariant, the few lines it takes.
//!
//! ```text
//! whole ─> cut off after the break ─> fewer faults at the same times ─> fewer lines ─> shorter times
//!            └─ each step is kept only if the same invariant breaks; refused lines go along
//! ```
//! Lines go in chunks, from half of them down to single ones. Pauses in a row are one pause: that
//! changes nothing, and what is left between faults that went is one line.
//! The cluster's setup stays. Everything is bounded by a number of runs: what is left then is what
//! was found so far. Pure but for the runs themselves: the same scenario shrinks to the same lines.

use crate::scenario::verbs::carry_out;
use crate::scenario::{WordError, Words, actions};
use crate::sim::Sim;

/// A scenario, shrunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// What breaks, by name.
    pub invariant: String,
    /// The cluster's setup.
    pub setup: Vec<String>,
    /// The lines it takes.
    pub lines: Vec<String>,
    /// How many lines it had.
    pub before: usize,
    /// Runs that it took to find out.
    pub runs: u32,
}

impl Shrunk {
    /// As a scenario file.
    pub fn text(&self, origin: &str) -> String {
        let mut text = format!("# Breaks {}; shrunk from {origin}.\n", self.invariant);
        for line in self.setup.iter().chain(&self.lines) {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// Shrinks a scenario in at most so many runs, telling of each: runs so far and lines left. `None`:
/// the scenario breaks nothing.
pub fn shrink(text: &str, runs_max: u32, told: impl FnMut(u32, usize)) -> Option<Shrunk> {
    let mut lines: Vec<String> = actions(text).map(|(_, line)| line.to_owned()).collect();
    let mut first = Sim::default();
    let mut numbered = lines.iter().enumerate();
    let (last, invariant) =
        numbered.find_map(
            |(number, line)| match carry_out_one(&mut first, line, None) {
                Outcome::Breaks(name) => Some((number, name)),
                Outcome::Done | Outcome::Refused => None,
            },
        )?;
    lines.truncate(last + 1);
    let (setup, rest) = lines.split_at(setup_of(&lines));
    let (rest, tail) = rest.split_at(rest.len() - tail_of(rest));
    let mut search = Search {
        setup,
        tail,
        invariant: &invariant,
        left: runs_max,
        runs: 1,
        told,
    };
    let mut best = search.attempt(rest).unwrap_or_else(|| rest.to_vec());
    // What depends on a time is found while all else happens when it did.
    search.drop_lines(&mut best, |line| pause_ms(line).is_none());
    search.drop_lines(&mut best, |_| true);
    search.shorten(&mut best);
    // Shorter times leave some lines without a use.
    search.drop_lines(&mut best, |_| true);
    let before = rest.len() + tail.len();
    best.extend_from_slice(tail);
    Some(Shrunk {
        setup: setup.to_vec(),
        before,
        lines: best,
        runs: search.runs,
        invariant,
    })
}

/// How many of the first lines set the cluster up: to the last definition, and the time it is given.
fn setup_of(lines: &[String]) -> usize {
    let verb = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let defines = |line: &String| {
        let verbs = ["site", "witness", "host", "vm", "policy"];
        verbs.contains(&verb(line).as_str())
    };
    let end = lines.iter().rposition(defines).map_or(0, |last| last + 1);
    let settles = lines.get(end).is_some_and(|line| verb(line) == "advance");
    end + usize::from(settles)
}

/// How many of the last lines belong to the expectation that is not met: all that wait for it or let
/// time go by, and the mending that it is expected of. Without them it would not be met for much
/// smaller reasons: nobody expects a host to run VMs that nobody has switched on again. None of an
/// invariant: those always hold.
fn tail_of(lines: &[String]) -> usize {
    let verb = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let waits = |line: &String| ["expect", "wait", "advance"].contains(&verb(line).as_str());
    if lines
        .last()
        .is_none_or(|last| !waits(last) || verb(last) == "advance")
    {
        return 0;
    }
    // Nobody is in the way of what is expected.
    let goes = |line: &String| line.starts_with("extension ") && line.ends_with(" removed");
    let follows =
        |line: &String| waits(line) || goes(line) || line == "start all" || line == "resume all";
    let backwards = || lines.iter().rev();
    let waiting = backwards().take_while(|line| waits(line)).count();
    let following = backwards().take_while(|line| follows(line)).count();
    let mending = backwards()
        .skip(following)
        .take_while(|line| *line == "mend");
    match mending.count() {
        0 => waiting,
        mending => following + mending,
    }
}

/// What came of a line.
enum Outcome {
    /// It was carried out.
    Done,
    /// It was not: no file should have it.
    Refused,
    /// By now this invariant is broken, or this expectation not met.
    Breaks(String),
}

/// Carries out a line; with `wanted`, only a break of that name counts as one.
fn carry_out_one(sim: &mut Sim, line: &str, wanted: Option<&str>) -> Outcome {
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    let done = carry_out(sim, line);
    let violations = sim.ctx.truth.violations.iter();
    let mut names = violations.filter_map(|text| text.split(':').next());
    if let Some(name) = names.find(|name| is_wanted(name)) {
        return Outcome::Breaks(name.to_owned());
    }
    match done {
        Ok(()) => Outcome::Done,
        Err(WordError::NotMet(_)) if is_wanted(&expectation(line)) => {
            Outcome::Breaks(expectation(line))
        }
        Err(_) => Outcome::Refused,
    }
}

/// What a line demands, without how long it waits for that.
fn expectation(line: &str) -> String {
    match line.split_once(" until ") {
        Some((_, demanded)) => format!("expect {demanded}"),
        None => line.to_owned(),
    }
}

struct Search<'a, T> {
    setup: &'a [String],
    /// These stay at the end.
    tail: &'a [String],
    invariant: &'a str,
    left: u32,
    runs: u32,
    told: T,
}

impl<T: FnMut(u32, usize)> Search<'_, T> {
    /// Runs these lines. If the same invariant breaks: those of them that were carried out until
    /// then, without those that were refused.
    fn attempt(&mut self, lines: &[String]) -> Option<Vec<String>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.runs += 1;
        let mut sim = Sim::default();
        for line in self.setup {
            // It was accepted when the whole scenario was run.
            let _ = carry_out(&mut sim, line);
        }
        let mut kept = Vec::new();
        for line in lines {
            match carry_out_one(&mut sim, line, Some(self.invariant)) {
                Outcome::Refused => {}
                Outcome::Done => kept.push(line.clone()),
                Outcome::Breaks(_) => {
                    kept.push(line.clone());
                    return Some(self.found(&kept));
                }
            }
        }
        for line in self.tail {
            match carry_out_one(&mut sim, line, Some(self.invariant)) {
                Outcome::Done => {}
                Outcome::Refused => return None,
                Outcome::Breaks(_) => return Some(self.found(&kept)),
            }
        }
        None
    }

    fn found(&mut self, kept: &[String]) -> Vec<String> {
        let kept = join_pauses(kept);
        (self.told)(self.runs, kept.len() + self.tail.len());
        kept
    }

    /// Without chunks of such lines, from half of them down to single ones, as long as that helps.
    fn drop_lines(&mut self, best: &mut Vec<String>, may_go: fn(&str) -> bool) {
        let such = |lines: &[String]| -> Vec<usize> {
            let numbered = lines.iter().enumerate();
            let such = numbered.filter(|(_, line)| may_go(line));
            such.map(|(index, _)| index).collect()
        };
        let mut found = such(best);
        let mut size = found.len().div_ceil(2).max(1);
        loop {
            let before = best.len();
            // From the end: what comes last leans on what came before.
            let mut end = found.len();
            while end > 0 && self.left > 0 {
                let begin = end.saturating_sub(size);
                let gone = &found[begin..end];
                let rest = best.iter().enumerate();
                let rest = rest.filter(|(index, _)| !gone.contains(index));
                let fewer: Vec<String> = rest.map(|(_, line)| line.clone()).collect();
                if let Some(kept) = self.attempt(&fewer) {
                    *best = kept;
                    found = such(best);
                }
                end = begin.min(found.len());
            }
            if self.left == 0 || (size == 1 && best.len() == before) {
                return;
            }
            size = (size / 2).max(1);
        }
    }

    /// Each pause as short as halving makes it.
    fn shorten(&mut self, best: &mut Vec<String>) {
        let mut index = 0;
        while index < best.len() && self.left > 0 {
            let half = pause_ms(&best[index]).map(|ms| ms / 2).filter(|ms| *ms > 0);
            let shorter = half.and_then(|ms| {
                let mut lines = best.clone();
                lines[index] = format!("advance {ms}ms");
                self.attempt(&lines)
            });
            match shorter {
                Some(kept) => *best = kept,
                None => index += 1,
            }
        }
    }
}

/// The time of an `advance`, in milliseconds.
fn pause_ms(line: &str) -> Option<u64> {
    let time = line.strip_prefix("advance ")?;
    Words::of(time).time_ms().ok()
}

/// Pauses in a row as one: the same events at the same times.
fn join_pauses(lines: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for line in lines {
        let last = joined.last().and_then(|last| pause_ms(last));
        match (last, pause_ms(line)) {
            (Some(before), Some(ms)) => {
                joined.pop();
                joined.push(format!("advance {}ms", before + ms));
            }
            _ => joined.push(line.clone()),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guard that does nothing, on a host that is cut off while its agent stands still, hidden
    /// among what does no harm.
    fn noisy() -> String {
        let noise = [
            "move web1 b1",
            "slow a b 40ms",
            "advance 1s",
            "freeze libvirt b2 900ms",
            "lose-finish web1 on",
            "advance 700ms",
            "crash web1",
            "manager b pause 300ms",
            "advance 2s",
            "lose-finish web1 off",
        ];
        let culprits = [
            "sabotage a1",
            "cut b2 all oneway",
            "freeze agent a1 120s",
            "heal",
            "cut a1 all",
            "advance 30s",
        ];
        let setup = "# A bug among noise.\nsite a\nsite b\nwitness w\nhost a1 site=a\nhost a2 site=a\n\
                     host b1 site=b\nhost b2 site=b\nadvance 2s\nvm db1 site=a\nvm web1 site=a\n\
                     advance 10s\n";
        let mut text = setup.to_owned();
        for culprit in culprits {
            for line in noise.into_iter().chain([culprit]) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text + "advance 60s\nexpect all running\n"
    }

    #[test]
    fn a_planted_bug_is_found_in_the_noise() {
        let text = noisy();
        let whole = crate::scenario::run(&text);
        assert!(
            whole
                .errors
                .iter()
                .any(|e| e.starts_with("closed-is-stopped:"))
        );
        let mut runs = 0;
        let shrunk = shrink(&text, 300, |_, _| runs += 1).expect("it breaks");
        assert_eq!(shrunk.invariant, "closed-is-stopped");
        assert!(shrunk.lines.len() <= 12, "{:#?}", shrunk.lines);
        assert!(shrunk.lines.contains(&"sabotage a1".to_owned()));
        assert!(shrunk.before > 60 && shrunk.runs <= 301 && runs > 0);
        let again = crate::scenario::run(&shrunk.text("a test"));
        let first = again.errors.first().expect("an error");
        assert!(
            first.starts_with("closed-is-stopped:"),
            "{:#?}",
            again.errors
        );
        assert_eq!(
            shrink(&text, 300, |_, _| ()),
            Some(shrunk),
            "the same again"
        );
    }

    #[test]
    fn what_breaks_nothing_is_not_shrunk_and_the_bound_holds() {
        assert_eq!(
            shrink("# Nothing.\nsite a\nadvance 1s\n", 10, |_, _| ()),
            None
        );
        let shrunk = shrink(&noisy(), 3, |_, _| ()).expect("it breaks");
        assert!(shrunk.runs <= 4 && shrunk.lines.len() > 12);
    }

    #[test]
    fn what_was_mended_before_an_expectation_stays_mended() {
        let text = "# A VM is down, for good.\nsite a\nhost a1 site=a\nhost a2 site=a\nvm v\nvm w\n\
                    advance 10s\nmove w\nadvance 9s\npower host a1 off\nadvance 4s\npower host a2 off\n\
                    fail-start a1 v \"no such machine\" 99\nadvance 3s\nfail-start a2 v \"no such machine\" 99\n\
                    mend\nadvance 60s\nstart all\nresume all\nwait 5m until all running\n";
        let shrunk = shrink(text, 100, |_, _| ()).expect("it breaks");
        assert_eq!(shrunk.invariant, "expect all running");
        let mended = [
            "mend",
            "advance 60s",
            "start all",
            "resume all",
            "wait 5m until all running",
        ];
        let (culprits, tail) = shrunk.lines.split_at(shrunk.lines.len() - mended.len());
        assert_eq!(tail, mended);
        let gone = |line: &&String| line.starts_with("move") || line.starts_with("advance");
        assert_eq!(culprits.iter().find(gone), None, "{culprits:#?}");
        assert!(culprits.iter().any(|line| line.starts_with("fail-start")));
    }

    #[test]
    fn an_unmet_expectation_is_shrunk_as_well() {
        let text = "# A VM is down.\nsite a\nhost a1 site=a\nvm v\nadvance 10s\nmark\nadvance 4s\n\
                    storage a syncing\npower host a1 off\nadvance 3s\nwait 5s until all running\n";
        let shrunk = shrink(text, 100, |_, _| ()).expect("it breaks");
        assert_eq!(shrunk.invariant, "expect all running");
        assert_eq!(
            shrunk.lines,
            [
                "power host a1 off",
                "advance 3s",
                "wait 5s until all running"
            ]
        );
    }
}
