use super::*;
use holdfast_model::timing::Profile;

/// One observer and its hosts, with answers that come at once.
struct Rig {
    observer: Observer,
    timing: Timing,
    now: Instant,
    life: Incarnation,
    /// Who answers.
    answers: Vec<HostName>,
}

fn name(text: &str) -> HostName {
    text.parse().expect("a name")
}

fn site() -> SiteName {
    "a".parse().expect("a name")
}

impl Rig {
    fn new(answers: &[&str]) -> Self {
        Self {
            observer: Observer::default(),
            timing: Timing::of(Profile::Default),
            now: Instant(100_000),
            life: "i1".parse().expect("a name"),
            answers: answers.iter().map(|host| name(host)).collect(),
        }
    }

    /// One turn; how many were asked.
    fn turn(&mut self) -> Vec<HostName> {
        let hosts = ["a1", "a2"].map(name);
        let life = &self.life;
        let hosts = hosts.iter().map(|host| (host, life));
        let due = self.observer.turn(self.now, &self.timing, hosts);
        for host in due.iter().filter(|host| self.answers.contains(host)) {
            self.observer.answered(host, self.now, self.now.plus(1));
        }
        due
    }

    /// Turns for so long; how often `a1` was asked.
    fn run(&mut self, ms: u64) -> usize {
        let end = self.now.plus(ms);
        let mut asked = 0;
        while self.now < end {
            self.now = self
                .now
                .plus(Observer::turn_every_ms(&self.timing))
                .min(end);
            asked += usize::from(self.turn().contains(&name("a1")));
        }
        asked
    }

    fn silent(&self) -> Vec<(String, u64)> {
        let opinion = self.observer.opinion(&site(), &self.timing);
        let silent = opinion.silent.iter();
        silent
            .map(|(host, silent)| (host.to_string(), silent.silent_ms))
            .collect()
    }
}

#[test]
fn a_host_that_stops_answering_falls_silent_and_is_asked_more_often() {
    let mut rig = Rig::new(&["a1", "a2"]);
    let usual = rig.run(1_600);
    assert!((9..=11).contains(&usual), "{usual} probes in 1.6 s");
    assert_eq!(rig.silent(), []);
    rig.answers.remove(0);
    let hurried = rig.run(720);
    assert!((8..=9).contains(&hurried), "{hurried} probes in 0.7 s");
    assert_eq!(rig.silent(), []);
    rig.run(240);
    let [(host, ms)] = &rig.silent()[..] else {
        panic!("{:?}", rig.silent());
    };
    assert!(host == "a1" && (960..=1_120).contains(ms), "{host} {ms}");
    let vantage = rig.observer.vantage(&site());
    assert_eq!(vantage.silent[&name("a1")].for_ms, *ms);
    assert!(vantage.silent[&name("a2")].for_ms < 200);
    // It is given up as far as probes go, and asked now and then.
    rig.run(3_000);
    assert_eq!(rig.silent(), []);
    let seldom = rig.run(10_000);
    assert!((9..=13).contains(&seldom), "{seldom} probes in 10 s");
    rig.answers.push(name("a1"));
    rig.run(1_500);
    rig.answers.clear();
    rig.run(1_100);
    assert_eq!(rig.silent().len(), 2, "it counts again");
}

#[test]
fn who_never_answered_in_this_life_is_not_silent() {
    let mut rig = Rig::new(&["a2"]);
    rig.run(5_000);
    assert_eq!(rig.silent(), []);
    assert_eq!(rig.observer.vantage(&site()).heard.len(), 1);
    // Another life begins: what the one before it answered is of no account.
    rig.life = "i2".parse().expect("a name");
    rig.answers.clear();
    rig.run(2_000);
    assert_eq!(rig.silent(), []);
}

#[test]
fn a_closed_port_is_no_silence_however_long() {
    let mut rig = Rig::new(&["a1", "a2"]);
    rig.run(800);
    rig.answers.remove(0);
    rig.run(300);
    rig.observer.refused(&name("a1"));
    rig.run(2_000);
    assert_eq!(rig.silent(), []);
    assert!(
        !rig.observer
            .vantage(&site())
            .silent
            .contains_key(&name("a1"))
    );
}

#[test]
fn own_pauses_and_probes_that_could_not_be_sent_are_nobodys_silence() {
    let mut rig = Rig::new(&["a1", "a2"]);
    rig.run(800);
    rig.answers.clear();
    rig.run(640);
    // It is stopped for a while, in which nobody was asked.
    rig.now = rig.now.plus(3_000);
    rig.run(700);
    assert_eq!(rig.silent(), []);
    rig.observer.unsent(&name("a1"), rig.now);
    rig.run(300);
    assert_eq!(rig.silent().len(), 1, "{:?}", rig.silent());
    assert_eq!(rig.silent()[0].0, "a2");
}

#[test]
fn an_answer_that_comes_late_tells_nothing_of_later_probes() {
    let mut rig = Rig::new(&["a1"]);
    rig.run(800);
    let heard = rig.observer.vantage(&site()).heard[&name("a1")].clone();
    let late = Instant(heard.asked_at.0 - 500);
    rig.observer.answered(&name("a1"), late, rig.now.plus(9));
    let now = rig.observer.vantage(&site()).heard[&name("a1")].clone();
    assert_eq!(now.asked_at, heard.asked_at);
    rig.observer.answered(&name("b9"), rig.now, rig.now);
    assert_eq!(rig.observer.vantage(&site()).heard.len(), 1, "a stranger");
}
