//! What the agent of a host does about an errand that is for it.
#![allow(clippy::unwrap_used)]

mod common;

use common::name;
use holdfast_core::errand::{AgentView, Duty, Memory, agent_duty, standing_at};
use holdfast_model::asking::AskerKind;
use holdfast_model::errand::{Addressee, Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{HostState, Membership};
use holdfast_model::id::Revision;
use holdfast_model::policy::Policy;
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;

const BOTH: [AskerKind; 2] = [AskerKind::Managers, AskerKind::Agents];

fn state(membership: Membership, life: &str) -> HostState {
    HostState {
        membership,
        incarnation: name(life),
        boot_id: name("b"),
        losses: 0,
        reason: String::new(),
    }
}

fn device(askers: &[AskerKind]) -> FenceDevice {
    FenceDevice {
        askers: askers.to_vec(),
        hosts: vec![name("a1"), name("a2")],
        ..FenceDevice::by_agent(name("fence_x"), Default::default(), 500)
    }
}

/// For a2's agent, about a1.
fn errand(stage: ErrandStage) -> Errand {
    Errand {
        id: name("e1"),
        by: name("m-w"),
        epoch: Revision(7),
        to: Addressee::agent(name("a2"), "a2-1".to_owned()).unwrap(),
        host: name("a1"),
        incarnation: name("a1-i"),
        session_revision: Revision(5),
        device: name("board"),
        as_set: device(&[]),
        attempt: 1,
        stage,
    }
}

fn policy(askers: &[AskerKind]) -> Policy {
    let mut policy = Policy::default();
    let devices = [(name("board"), device(askers))];
    policy.fencing.devices = devices.into();
    policy
}

#[test]
fn an_agent_takes_what_is_for_it_once_and_says_why_it_does_not() {
    let (host, life) = (name("a2"), name("a2-i"));
    let online = state(Membership::Online, "a2-i");
    let lets = policy(&BOTH);
    let me = AgentView {
        host: &host,
        life: "a2-1",
        session: Some(&life),
        state: Some(&online),
        policy: Some(&lets),
    };
    let mut memory = Memory::default();
    let sent = errand(ErrandStage::Sent);
    assert_eq!(agent_duty(me, &sent, &memory), Duty::Take);
    let declines = |me: AgentView, errand: &Errand, part: &str| {
        let said = agent_duty(me, errand, &Memory::default());
        let Duty::Say(ErrandStage::Declined { reason }) = &said else {
            panic!("{said:?}");
        };
        assert!(
            reason.starts_with("not asked: ") && reason.contains(part),
            "{reason}"
        );
    };
    let mut own = sent.clone();
    own.host = name("a2");
    declines(me, &own, "does not ask about its own host");
    declines(
        AgentView {
            session: None,
            ..me
        },
        &sent,
        "no session that holds",
    );
    let suspect = state(Membership::Suspect, "a2-i");
    let state_of = |state| AgentView { state, ..me };
    declines(state_of(Some(&suspect)), &sent, "it is suspect");
    let other = state(Membership::Online, "a2-h");
    for state in [None, Some(&other)] {
        declines(state_of(state), &sent, "has not taken its present life in");
    }
    // What it proves when it takes one, each time that it tries.
    let seen = |state: &HostState| Seen {
        value: state.clone(),
        revision: Revision(7),
        seen_at: Instant(0),
    };
    let proves = |state: Option<&HostState>| standing_at(state.map(seen).as_ref(), &life);
    assert_eq!(proves(Some(&online)), Some(Revision(7)));
    for state in [None, Some(&suspect), Some(&other)] {
        assert_eq!(proves(state), None);
    }
    let forbids = policy(&[]);
    for policy in [None, Some(&forbids)] {
        declines(
            AgentView { policy, ..me },
            &sent,
            "does not let agents ask board",
        );
    }
    declines(AgentView { life: "a2-2", ..me }, &sent, "started anew");
    // A manager of the same name is somebody else.
    let mut to_manager = sent.clone();
    to_manager.to = Addressee::manager(name("a2"), "a2-1".to_owned());
    assert_eq!(agent_duty(me, &to_manager, &memory), Duty::Nothing);
    let of_manager = holdfast_core::errand::duty(&name("a2"), "a2-1", &sent, &memory);
    assert_eq!(of_manager, Duty::Nothing);
    memory.begin(&sent.id);
    memory.end(&sent.id);
    assert_eq!(agent_duty(me, &sent, &memory), Duty::Nothing, "a late copy");
    // An earlier start of it had taken it: nobody knows, and it is not done again.
    for life in ["a2-1", "a2-2"] {
        let said = agent_duty(
            AgentView { life, ..me },
            &errand(ErrandStage::Taken),
            &memory,
        );
        let unknown = matches!(
            &said,
            Duty::Say(ErrandStage::Answered {
                power: PowerState::Unknown { .. }
            })
        );
        assert!(unknown, "{said:?}");
    }
}
