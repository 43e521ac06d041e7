//! What placement extensions say is heeded, whatever they say; and a plan can be made again from what they
//! said.

mod common;

use common::*;
use holdfast_core::advice::{Advisor, Recorded};
use holdfast_core::planner::{plan, plan_with};
use holdfast_core::verify::{Rule, verify};
use holdfast_model::advice::{Advice, Fallback, Question, Said, Score};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::plan::{Plan, PlannerStep, Subject, Write};
use holdfast_model::world::World;
use proptest::prelude::*;
use std::cell::RefCell;
use std::sync::Arc;

/// One extension.
struct Says<F>(F);

impl<F: Fn(&Question) -> Said> Advisor for Says<F> {
    fn is_silent(&self) -> bool {
        false
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        rule((self.0)(question))
    }
}

fn rule(said: Said) -> Vec<Advice> {
    vec![Advice {
        extension: name("rule"),
        version: "1.0.0".to_owned(),
        said,
    }]
}

fn refusing(host: &'static str) -> impl Advisor {
    Says(move |question: &Question| Said::Answer {
        refusals: (question.candidates.iter())
            .map(|each| (each.host.as_str() == host).then(|| "no licence there".to_owned()))
            .collect(),
        scores: Vec::new(),
    })
}

fn scoring(score: impl Fn(&str) -> f64) -> impl Advisor {
    Says(move |question: &Question| Said::Answer {
        refusals: Vec::new(),
        scores: (question.candidates.iter())
            .map(|each| Score::new(score(each.host.as_str())).unwrap())
            .collect(),
    })
}

fn nothing(then: Fallback) -> impl Advisor {
    Says(move |_: &Question| Said::Nothing {
        reason: "it trapped".to_owned(),
        then,
    })
}

/// One that answers the first question, and has no time for others.
struct Tired {
    then: Fallback,
    asked: RefCell<Vec<VmName>>,
}

impl Advisor for Tired {
    fn is_silent(&self) -> bool {
        false
    }

    fn unasked(&self, _: &VmName) -> Option<Vec<Advice>> {
        let is_over = !self.asked.borrow().is_empty();
        is_over.then(|| {
            rule(Said::Nothing {
                reason: "the time is over".to_owned(),
                then: self.then,
            })
        })
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        self.asked.borrow_mut().push(question.vm.name.clone());
        rule(Said::Answer {
            refusals: Vec::new(),
            scores: Vec::new(),
        })
    }
}

/// The hosts that VMs are given to.
fn given(plan: &Plan) -> Vec<String> {
    let writes = plan.steps.iter().flat_map(|step| &step.writes);
    let owners = writes.filter_map(|write| match write {
        Write::Owner { owner, .. } => owner.holder.as_ref(),
        _ => None,
    });
    owners.map(|runner| runner.host.to_string()).collect()
}

fn one_vm() -> World {
    let mut w = two_sites();
    vm(&mut w, "web1", "a", 0, 512);
    w
}

#[test]
fn a_host_that_is_refused_is_not_taken_and_the_words_are_told() {
    let w = one_vm();
    assert_eq!(given(&plan(&w)), ["a1"]);
    let heeded = plan_with(&w, &refusing("a1"));
    assert_eq!(given(&heeded), ["a2"]);
    assert_eq!(verify(&w, &heeded), []);
    let mut alone = one_vm();
    alone.hosts.retain(|host, _| host.as_str() == "a1");
    let waits = plan_with(&alone, &refusing("a1"));
    assert_eq!(waits.steps, []);
    let refused: Vec<_> = waits
        .reports
        .iter()
        .flat_map(|each| &each.refused)
        .collect();
    let told = (
        name::<HostName>("a1"),
        "extension rule: no licence there".to_owned(),
    );
    assert_eq!(refused, [&told]);
}

#[test]
fn scores_rank_below_the_site_and_above_the_rest() {
    let mut w = one_vm();
    running(&mut w, "other", "a", 0, "a2"); // so that a1 has more room
    let score = |host: &str| if host == "a1" { 10.0 } else { 90.0 };
    assert_eq!(given(&plan(&w)), ["a1"]);
    assert_eq!(
        given(&plan_with(&w, &scoring(score))),
        ["a2"],
        "b1 is away from its site"
    );
}

#[test]
fn without_an_answer_a_hard_rule_holds_and_a_soft_one_is_passed_over() {
    let w = one_vm();
    let closed = plan_with(&w, &nothing(Fallback::Closed));
    assert_eq!(given(&closed), [""; 0]);
    let open = plan_with(&w, &nothing(Fallback::Open));
    assert_eq!(given(&open), ["a1"]);
    for (plan, words) in [
        (closed, "nothing goes without it"),
        (open, "decided without it"),
    ] {
        let told = plan
            .reports
            .iter()
            .find(|each| each.step == PlannerStep::Placement);
        let told = told.expect("it is told");
        assert_eq!(told.subject, Subject::Vm(name("web1")));
        assert_eq!(told.text, format!("extension rule: it trapped; {words}"));
        let events = plan.steps.iter().flat_map(|step| &step.events);
        let kept = events.filter(|event| event.text == format!("web1: {}", told.text));
        assert_eq!(
            kept.count(),
            plan.steps.len(),
            "with the decision, if there was one"
        );
    }
}

#[test]
fn when_the_time_is_over_nothing_is_asked_any_more_and_each_rule_falls_back() {
    let mut w = two_sites();
    for each in ["web1", "web2", "web3"] {
        vm(&mut w, each, "a", 0, 512);
    }
    for (then, places) in [(Fallback::Open, 3), (Fallback::Closed, 1)] {
        let tired = Tired {
            then,
            asked: RefCell::default(),
        };
        let plan = plan_with(&w, &tired);
        assert_eq!(*tired.asked.borrow(), [name::<VmName>("web1")]);
        assert_eq!(given(&plan).len(), places, "{then:?}");
        assert_eq!(verify(&w, &plan), []);
        let about: Vec<&str> = plan.advised.iter().map(|each| each.vm.as_str()).collect();
        assert_eq!(about, ["web1", "web2", "web3"]);
        let told = plan.reports.iter().filter(|each| {
            each.step == PlannerStep::Placement && each.text.contains("the time is over")
        });
        assert_eq!(told.count(), 2, "of those that were not asked about");
        let again = plan_with(&w, &Recorded::new(&plan.advised));
        assert_eq!(again, plan, "from what was said");
    }
}

#[test]
fn an_answer_of_another_length_is_none() {
    let short = Says(|_: &Question| Said::Answer {
        refusals: vec![None],
        scores: Vec::new(),
    });
    let plan = plan_with(&one_vm(), &short);
    assert_eq!(given(&plan), [""; 0]);
}

#[test]
fn the_question_has_the_group_with_this_rounds_decisions() {
    let mut w = two_sites();
    for (at, labels) in [("a1", "r1"), ("a2", "r2")] {
        let labels = [("rack".to_owned(), labels.to_owned())].into();
        host_mut(&mut w, at).report.as_mut().unwrap().value.labels = Arc::new(labels);
    }
    for each in ["web1", "web2", "web3"] {
        vm(&mut w, each, "a", 0, 512);
        let view = Arc::make_mut(w.vms.get_mut(&name(each)).unwrap());
        view.spec.as_mut().unwrap().value.spread = Some("web".to_owned());
    }
    let asked = RefCell::new(Vec::new());
    let listening = Says(|question: &Question| {
        asked.borrow_mut().push(question.clone());
        Said::Answer {
            refusals: Vec::new(),
            scores: Vec::new(),
        }
    });
    let plan = plan_with(&w, &listening);
    assert_eq!(given(&plan), ["a1", "a2", "a1"]);
    let asked = asked.borrow();
    let peers: Vec<Vec<String>> = (asked.iter())
        .map(|q| {
            q.vm.peers
                .iter()
                .map(|p| format!("{} {}", p.host, p.labels["rack"]))
                .collect()
        })
        .collect();
    assert_eq!(
        peers,
        [
            vec![],
            vec!["a1 r1".to_owned()],
            vec!["a1 r1".to_owned(), "a2 r2".to_owned()]
        ]
    );
    let hosts: Vec<&str> = asked[1]
        .candidates
        .iter()
        .map(|c| c.host.as_str())
        .collect();
    assert_eq!(hosts, ["a1", "a2", "b1", "b2"]);
    let a1 = &asked[1].candidates[0];
    assert_eq!(
        (a1.vms, a1.vcpus_used, a1.memory_free_mib),
        (1, 1, 4096 - 1024)
    );
}

#[test]
fn the_check_refuses_a_plan_that_does_not_heed_them() {
    let w = one_vm();
    let mut plan = plan_with(&w, &scoring(|_| 50.0));
    assert_eq!(verify(&w, &plan), []);
    let Said::Answer { refusals, .. } = &mut plan.advised[0].advice[0].said else {
        panic!("it answered");
    };
    *refusals = vec![Some("no".to_owned()), None, None, None];
    let rules: Vec<Rule> = verify(&w, &plan).iter().map(|found| found.rule).collect();
    assert_eq!(rules, [Rule::HeedsExtensions]);
}

proptest! {
    /// Whatever is said, no VM goes where it may not, the check agrees, and what was said is enough to come
    /// to the same plan again.
    #[test]
    fn what_was_said_makes_the_same_plan_again(
        seed in any::<u64>(),
        vms in 1usize..12,
        grouped in any::<bool>(),
    ) {
        let mut w = two_sites();
        for n in 0..vms {
            let each = format!("vm{n}");
            vm(&mut w, &each, ["a", "b", ""][n % 3], n as i32 % 3, 256);
            if grouped {
                let view = Arc::make_mut(w.vms.get_mut(&name(&each)).unwrap());
                view.spec.as_mut().unwrap().value.spread = Some("g".to_owned());
            }
        }
        let arbitrary = Says(|question: &Question| {
            // A word per VM and host, the same each time.
            let draw = |host: &HostName| {
                let text = format!("{seed} {} {host}", question.vm.name);
                text.bytes().fold(seed | 1, |sum, byte| {
                    sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(byte))
                }) >> 33
            };
            let hosts = || question.candidates.iter().map(|each| draw(&each.host));
            match seed % 5 {
                0 => Said::Nothing { reason: "no".into(), then: Fallback::Open },
                _ => Said::Answer {
                    refusals: hosts().map(|n| (n % 3 == 0).then(|| "no".into())).collect(),
                    scores: hosts().map(|n| Score::new((n % 101) as f64).unwrap()).collect(),
                },
            }
        });
        let first = plan_with(&w, &arbitrary);
        prop_assert_eq!(verify(&w, &first), vec![]);
        prop_assert_eq!(&plan_with(&w, &Recorded::new(&first.advised)), &first);
        prop_assert_eq!(&plan_with(&w, &arbitrary), &first);
    }
}
