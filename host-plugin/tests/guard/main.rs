//! The guard as a process, against processes that stand for QEMU.
//!
//! What is proven is that they are gone, by the kernel's word, not how fast: machines are busy.

mod bench;
mod claims;
mod disk;
mod foreign;
mod lease;
mod memory;
mod probes;
mod systemd;

use bench::{Bench, DEADLINE_MS, Vm, life, names, start_guard, until};
use holdfast_core::guardian::deadline::{Phase, Renewal};
use holdfast_host::guard::protocol::{Answer, Call, Message};
use holdfast_host::process::start_ticks;
use holdfast_model::id::Revision;
use holdfast_store::clock::boottime;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_silent_agent_costs_the_vms_their_lives_and_only_them() {
    let bench = Bench::new();
    let mut vms = [Vm::start("a"), Vm::start("bb")];
    let mut bystander = Vm::start("ccc");
    let mut agent = bench.connect();
    agent.arm("i1", DEADLINE_MS).expect("armed");
    for vm in &vms {
        assert_eq!(agent.watch(vm), Ok(Answer::Done));
    }
    // From here on the agent says nothing, like one that was stopped with SIGSTOP.
    let (incarnation, killed) = agent.stopped();
    assert_eq!(incarnation, Some(life("i1")));
    assert_eq!(names(&killed), ["a", "bb"]);
    for vm in &mut vms {
        vm.assert_killed();
    }
    assert!(bystander.child.is_alive(), "nobody handed it over");
    assert!(matches!(agent.status().phase, Phase::Lapsed { .. }));
    let too_late = agent.call(Call::Renewed {
        incarnation: life("i1"),
        sent_at: boottime(),
        revision: Revision(1),
    });
    let renewal = Renewal::TooLate;
    assert_eq!(too_late, Ok(Answer::Renewed { renewal }));
    let refused = agent.watch(&bystander).expect_err("too late for it");
    assert!(refused.contains("deadline has passed"), "{refused}");
    bystander.assert_killed();
    assert!(agent.arm("i1", DEADLINE_MS).is_err(), "that life is over");
    agent
        .arm("i2", DEADLINE_MS)
        .expect("a new life, as nothing is left");
    assert_eq!(agent.status().killed, []);
}

/// A guest that is paused, or a QEMU that was stopped, is a possible runner: it would go on with an old
/// memory image once somebody continues it.
#[test]
fn a_process_that_was_stopped_is_killed_at_the_deadline_like_one_that_runs() {
    let bench = Bench::new();
    let mut vms = [Vm::start("a"), Vm::start("bb")];
    let mut agent = bench.connect();
    agent.arm("i1", DEADLINE_MS).expect("armed");
    for vm in &vms {
        assert_eq!(agent.watch(vm), Ok(Answer::Done));
    }
    let pid = vms[0].id.pid.to_string();
    let kill = Command::new("kill").args(["-STOP", &pid]).status();
    assert!(kill.expect("kill").success());
    until("it stands still", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        stat.contains(") T ").then_some(())
    });
    let (_, killed) = agent.stopped();
    assert_eq!(names(&killed), ["a", "bb"]);
    for vm in &mut vms {
        vm.assert_killed();
    }
}

#[test]
fn renewals_keep_the_vms_alive_beyond_the_first_deadline() {
    let bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    // Long, so that a busy machine does not miss it.
    let Ok(Answer::Armed {
        deadline: first, ..
    }) = agent.arm("i1", 8_000)
    else {
        panic!("not armed");
    };
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    loop {
        let renewed = agent.call(Call::Renewed {
            incarnation: life("i1"),
            sent_at: boottime(),
            revision: Revision(1),
        });
        let Ok(Answer::Renewed {
            renewal: Renewal::Until { deadline },
        }) = renewed
        else {
            panic!("the machine stood still for 8 s: {renewed:?}");
        };
        let alive = vm.child.is_alive();
        let now = boottime();
        assert!(
            alive || now >= deadline,
            "killed at {now}, before {deadline}"
        );
        if now >= first.plus(500) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    agent.stopped();
    vm.assert_killed();
}

#[test]
fn an_agent_that_dies_does_not_delay_it() {
    let bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    agent.arm("i1", DEADLINE_MS).expect("armed");
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    drop(agent);
    vm.assert_killed();
    // The next agent learns of it.
    let (_, killed) = bench.connect().stopped();
    assert_eq!(names(&killed), ["a"]);
}

#[test]
fn an_agent_that_does_not_read_does_not_delay_it() {
    let bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    agent.arm("i1", DEADLINE_MS).expect("armed");
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    let mut deaf = bench.connect();
    let stream = deaf.lines.get_mut();
    stream.set_nonblocking(true).expect("a socket");
    // Fills the socket in both directions: asks until the guard cannot answer any more.
    until("the socket is full, or the guard dropped it", || {
        let ask = b"{\"v\":1,\"id\":1,\"call\":\"status\"}\n";
        (0..1_000).find_map(|_| match stream.write(ask) {
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(_) => Some(()),
        })
    });
    vm.assert_killed();
    agent.stopped();
}

#[test]
fn a_guard_that_crashed_goes_on_with_the_same_deadline() {
    let mut bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    let Ok(Answer::Armed { deadline, .. }) = agent.arm("i1", 20_000) else {
        panic!("not armed");
    };
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    bench.crash_guard();
    let mut agent = bench.connect();
    let status = agent.status();
    let Phase::Armed(armed) = &status.phase else {
        panic!("{status:?}");
    };
    assert_eq!(armed.deadline(), deadline);
    assert_eq!(status.watched, [vm.process()]);
    assert!(vm.child.is_alive());

    agent
        .arm("i1", DEADLINE_MS)
        .expect("armed with shorter bounds");
    bench.crash_guard();
    vm.assert_killed();
}

#[test]
fn a_deadline_that_passed_while_no_guard_ran_is_enforced_by_the_next() {
    let mut bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    let Ok(Answer::Armed { deadline, .. }) = agent.arm("i1", DEADLINE_MS) else {
        panic!("not armed");
    };
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    bench.guard.0.kill().expect("a child");
    bench.guard.0.wait().expect("a child");
    until("the deadline passes", || {
        (boottime() > deadline).then_some(())
    });
    assert!(vm.child.is_alive(), "nobody was there to kill it");
    bench.guard = start_guard(&bench.config);
    vm.assert_killed();
}

#[test]
fn what_nobody_handed_over_is_found_in_libvirts_directory() {
    let bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut foreign = Vm::start("bb");
    bench.status_file("a", &vm.uuid, vm.id.pid);
    // A status file that was left behind: its process id belongs to another process by now.
    bench.status_file(
        "ccc",
        "99999999-2222-3333-4444-555555555555",
        foreign.id.pid,
    );
    std::fs::write(bench.path().join("libvirt/torn.xml"), "<domstatus").expect("written");
    let mut agent = bench.connect();
    agent.arm("i1", DEADLINE_MS).expect("armed");
    vm.assert_killed();
    let (_, killed) = loop {
        let (life, killed) = agent.stopped();
        if !killed.is_empty() {
            break (life, killed);
        }
    };
    assert_eq!(names(&killed), ["a"]);
    assert!(foreign.child.is_alive(), "not the one the file speaks of");
}

#[test]
fn a_guard_without_a_memory_kills_what_nobody_arms_it_for() {
    let mut bench = Bench::new();
    let mut vm = Vm::start("a");
    bench.status_file("a", &vm.uuid, vm.id.pid);
    bench.connect();
    let table = bench.path().join("run/guard.json");
    for damage in [None, Some("{\"boot")] {
        bench.guard.0.kill().expect("a child");
        bench.guard.0.wait().expect("a child");
        match damage {
            None => drop(std::fs::remove_file(&table)),
            Some(text) => std::fs::write(&table, text).expect("written"),
        }
        bench.guard = start_guard(&bench.config);
        vm.assert_killed();
        vm = Vm::start("a");
        bench.status_file("a", &vm.uuid, vm.id.pid);
    }
}

#[test]
fn only_the_very_process_is_watched() {
    let bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    let refused = agent.watch(&vm).expect_err("nothing is armed");
    assert!(refused.contains("not armed"), "{refused}");
    agent.arm("i1", 60_000).expect("armed");
    let mut other = vm.process();
    other.process.start_ticks += 1;
    let refused = agent.call(Call::Watch {
        incarnation: life("i1"),
        process: other,
    });
    assert!(refused.expect_err("another process").contains("is gone"));
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    assert_eq!(
        agent.watch(&vm),
        Ok(Answer::Done),
        "again after a reconnect"
    );
    assert_eq!(agent.status().watched.len(), 1);
    vm.child.0.kill().expect("a child");
    vm.child.0.wait().expect("a child");
    assert_eq!(start_ticks(vm.id.pid), None);
    until("its end is noticed", || {
        agent.status().watched.is_empty().then_some(())
    });
}

#[test]
fn there_is_one_guard_and_what_it_cannot_read_it_refuses() {
    let bench = Bench::new();
    let mut agent = bench.connect();
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast-guard"))
        .arg("--config")
        .arg(&bench.config)
        .output()
        .expect("the guard");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("another guard of this host is running"),
        "{text}"
    );

    let stream = agent.lines.get_mut();
    stream
        .write_all(b"{\"id\":7,\"call\":\"dance\"}\nnonsense\n")
        .expect("written");
    for wanted in [7, 0] {
        let Message::Reply { id, result } = agent.message() else {
            panic!("a reply");
        };
        assert_eq!(id, wanted);
        assert!(result.expect_err("refused").contains("cannot read it"));
    }
    assert_eq!(agent.status().phase, Phase::Unarmed);
}

#[test]
fn a_guard_that_is_asked_to_end_says_what_it_leaves() {
    let mut bench = Bench::new();
    let mut vm = Vm::start("a");
    let mut agent = bench.connect();
    agent.arm("i1", 60_000).expect("armed");
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    let guard = Command::new("kill")
        .arg(bench.guard.0.id().to_string())
        .status();
    assert!(guard.expect("kill").success());
    let status = bench.guard.wait_for_end();
    assert!(status.success(), "{status}");
    assert!(vm.child.is_alive(), "its end is no deadline");
    // The next one goes on.
    bench.guard = start_guard(&bench.config);
    assert_eq!(bench.connect().status().watched, [vm.process()]);
}
