//! The verbs.
//!
//! ```text
//! setup      site S | witness S | host H site=S memory=MIB cpus=N [asks=PROGRAM,…] | policy KEY = VALUE
//!            asks: what its agent asks fencing devices of other hosts with
//!            vm V memory=MIB [vcpus=N] [priority=N] [site=S] [rule=must] [spread=WORD] [run=false] [lease=false]
//!            probes                                       hosts added after it answer probes, managers ask
//! power      power host H on|off | power site S on|off
//! links      cut A B [oneway] | slow A B TIME | heal A B | heal
//!            A, B: a site, a host, or `all`; `slow` adds to what goes from A to B
//! processes  manager S kill|stop|start | manager S pause TIME
//!            pause-leader N TIME                      whoever leads, after the N-th step from now; 0: nobody
//!            agent H kill|stop|start | guard H kill
//!            freeze agent|libvirt|guard H TIME
//!            libvirt H kill [TIME]                    killed, and started again after that time (1 s)
//!            libvirt H slow TIME [lists]              each call takes so much longer; lists too
//!            clock H drift PPM | clock S step +TIME|-TIME  (on the wall; a simulated host has none)
//!            voter S stop|start                       the store's voter alone
//!            kills take TIME                              the guards' signals, on every host
//!            sabotage H                                   its guard does nothing: tests the invariants
//! VMs        crash V [on H] | guest-shutdown V | io-error V | stubborn V | fail-start H V "words" [TIMES]
//!            lose-finish V on|off
//! probes     probes lose PERCENT                          of them, and of their answers
//! lease      volume quorum|plain                          hosts added after it have a slot on it
//!            san cut H | san heal H                       H's way to the storage
//!            san slow TIME                                every call takes so much longer
//!            san stall | san go                           every call to the storage hangs, or goes on
//!            san lose | san renew                         the volume is gone; there is a new, empty one
//!            san truncate SLOTS                           its file ends after so many heartbeat slots
//!            san repair                                   VMs' sectors that cannot be believed are emptied
//!            sector H torn|zeroed|foreign|flipped         what stands in H's heartbeat slot
//!            claim V torn|zeroed|foreign|flipped          what stands in V's sector
//! store      store compact                                watches that are behind list anew
//!            store backup | store restore                 what was written in between is forgotten
//!            watch gap S|H TIME                           its watches bring nothing for so long
//!            lose-replies S|H [TIMES]                     to its next plan's steps, or its reports
//! storage    storage A synced|syncing|unusable            A: a site or a host
//! fencing    fence H answers [TIME]                       its device, TIME a call; in use if a policy names one
//!            fence H lies|half-lies|hangs|refuses|idles|mumbles (`sim::fence::Behaviour`)
//!                                                         H: a host, or one device of the policy
//! repair     mend                                         all of the above that can be put right (see `mend`)
//! operator   stop V | start V|all | delete V | restart V | move V [H] | drain H | resume H|all
//!            confirm-off H
//!            extension E keeps-off H|prefers H|fails [open] | extension E removed
//! time       advance TIME | wait TIME until EXPECTATION   (the wait is the longest; not met: error)
//!            mark                                         (restarts are counted from here)
//! check      expect EXPECTATION                           (see `expect`)
//! ```

use super::words::{WordError, Words, bad, end_of, parse};
use super::{expect, extension, mend, volume};
use crate::sim::Sim;
use crate::sim::bounds::{KILL_MS, RESTART_MS};
use crate::sim::fence::{Behaviour, Device};
use holdfast_model::host::{Capacity, StorageState};
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::op::Request;
use holdfast_model::vm::{SiteRule, VmSpec};
use std::collections::BTreeSet;

/// A wait looks this often, in milliseconds.
const LOOK_MS: u64 = 10;

/// Carries out one line.
pub fn carry_out(sim: &mut Sim, line: &str) -> Result<(), WordError> {
    if let Some(setting) = line.strip_prefix("policy ") {
        return Ok(sim.add_policy(setting.to_owned())?);
    }
    let mut words = Words::of(line);
    let verb = words.word("a verb")?;
    match verb.as_str() {
        "probes" if words.is_empty() => sim.add_probes(),
        "site" | "witness" | "host" | "vm" | "volume" => setup(sim, &verb, &mut words)?,
        "extension" => {
            sim.ctx.log("operator", line);
            extension::carry_out(sim, &mut words)?;
        }
        "advance" => {
            let ms = words.time_ms()?;
            sim.advance(ms);
        }
        "wait" => wait(sim, &mut words)?,
        "mark" => sim.ctx.truth.mark = sim.ctx.now,
        "expect" => expect::met(sim, &words.rest())?,
        "mend" => mend::mend(sim),
        "start" if words.takes("all") => {
            for spec in expect::all_vms(sim) {
                carry_out(sim, &format!("start {}", spec.name))?;
            }
        }
        "resume" if words.takes("all") => {
            let hosts: Vec<HostName> = sim.hosts.keys().cloned().collect();
            for host in hosts {
                carry_out(sim, &format!("resume {host}"))?;
            }
        }
        "stop" | "start" | "delete" | "restart" | "move" | "drain" | "resume" | "confirm-off" => {
            sim.ctx.log("operator", line);
            operate(sim, &verb, &mut words)?;
        }
        _ => {
            sim.ctx.log("fault", line);
            fault(sim, &verb, &mut words)?;
        }
    }
    words.end()
}

fn wait(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let until = sim.ctx.now + words.time_ms()?;
    if !words.takes("until") {
        return Err(WordError::Missing("until"));
    }
    let expectation = words.rest();
    loop {
        let met = expect::met(sim, &expectation);
        if met.is_ok() {
            return met;
        }
        // No expectation depends on the time alone.
        let seen = sim.happened();
        while sim.happened() == seen {
            if sim.ctx.now >= until {
                return met;
            }
            sim.advance(LOOK_MS);
        }
    }
}

fn setup(sim: &mut Sim, verb: &str, words: &mut Words) -> Result<(), WordError> {
    match verb {
        "site" => sim.add_site(words.parse("site")?, false),
        "witness" => sim.add_site(words.parse("site")?, true),
        "host" => host(sim, words)?,
        "volume" => {
            let class = words.word("quorum or plain")?;
            sim.add_volume(match class.as_str() {
                "quorum" => StorageClass::Quorum,
                "plain" => StorageClass::Plain,
                _ => return Err(bad("class", &class, "use quorum or plain")),
            });
        }
        _ => vm(sim, words)?,
    }
    Ok(())
}

fn host(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let name: HostName = words.parse("host")?;
    let mut site: Option<SiteName> = None;
    let mut capacity = Capacity {
        memory_mib: 8_192,
        cpus: 8,
    };
    let mut fence_agents = BTreeSet::new();
    for (key, value) in words.settings()? {
        match key.as_str() {
            "site" => site = Some(parse("site", &value)?),
            "asks" => {
                let programs = value.split(',').map(|program| parse("program", program));
                fence_agents = programs.collect::<Result<_, _>>()?;
            }
            "memory" => capacity.memory_mib = parse("memory", &value)?,
            "cpus" => capacity.cpus = parse("cpus", &value)?,
            _ => return Err(WordError::Extra(key)),
        }
    }
    let site = site.ok_or(WordError::Missing("site="))?;
    sim.add_host(name, site, capacity, fence_agents);
    Ok(())
}

fn vm(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let name: VmName = words.parse("VM")?;
    let number = sim.ctx.store.revision().0;
    let uuid = format!("7b6a1c9e-0000-4000-8000-{number:012x}");
    let mut spec = VmSpec {
        uuid: parse("uuid", &uuid)?,
        domain_xml: format!("<domain type='kvm'><name>{name}</name></domain>"),
        name,
        run: true,
        run_serial: 0,
        deleting: false,
        memory_mib: 512,
        vcpus: 1,
        priority: 0,
        preferred_site: None,
        site_rule: SiteRule::Should,
        spread: None,
        storage_lease: true,
        on_io_error: None,
        labels: Default::default(),
    };
    for (key, value) in words.settings()? {
        match key.as_str() {
            "memory" => spec.memory_mib = parse("memory", &value)?,
            "vcpus" => spec.vcpus = parse("vcpus", &value)?,
            "priority" => spec.priority = parse("priority", &value)?,
            "site" => spec.preferred_site = Some(parse("site", &value)?),
            "rule" if value == "must" => spec.site_rule = SiteRule::Must,
            "spread" => spec.spread = Some(value),
            "run" => spec.run = parse("run", &value)?,
            "lease" => spec.storage_lease = parse("lease", &value)?,
            _ => return Err(WordError::Extra(key)),
        }
    }
    Ok(sim.add_vm(spec)?)
}

fn operate(sim: &mut Sim, verb: &str, words: &mut Words) -> Result<(), WordError> {
    match verb {
        "drain" => sim.set_maintenance(&words.parse("host")?, true)?,
        "resume" => sim.set_maintenance(&words.parse("host")?, false)?,
        "confirm-off" => sim.confirm_off(words.parse("host")?)?,
        "move" => {
            let vm = words.parse("VM")?;
            let to = words.next().map(|word| parse("host", &word)).transpose()?;
            sim.request(Request::Move { vm, to })?;
        }
        "restart" => {
            let vm = words.parse("VM")?;
            sim.request(Request::Restart { vm })?;
        }
        _ => {
            let vm = words.parse("VM")?;
            sim.change_vm(&vm, |spec| match verb {
                "stop" => spec.run = false,
                "delete" => spec.deleting = true,
                _ => {
                    spec.run = true;
                    spec.run_serial += 1;
                }
            })?;
        }
    }
    Ok(())
}

fn on_off(words: &mut Words) -> Result<bool, WordError> {
    let word = words.word("on or off")?;
    match word.as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(bad("switch", &word, "use on or off")),
    }
}

fn fault(sim: &mut Sim, verb: &str, words: &mut Words) -> Result<(), WordError> {
    match verb {
        "power" => power(sim, words)?,
        "cut" => {
            let a = end_of(sim, &words.word("one end")?)?;
            let b = end_of(sim, &words.word("the other end")?)?;
            let one_way = words.takes("oneway");
            sim.cut(a, b, one_way);
        }
        "slow" => {
            let a = end_of(sim, &words.word("one end")?)?;
            let b = end_of(sim, &words.word("the other end")?)?;
            let ms = words.time_ms()?;
            sim.slow(a, b, ms);
        }
        "heal" => {
            let link = match words.next() {
                Some(a) => Some((
                    end_of(sim, &a)?,
                    end_of(sim, &words.word("the other end")?)?,
                )),
                None => None,
            };
            sim.heal(link);
        }
        "san" | "sector" | "claim" => volume::carry_out(sim, verb, words)?,
        "fence" => fence(sim, words)?,
        "manager" => manager(sim, words)?,
        "agent" => {
            let host = words.parse("host")?;
            let what = words.word("kill, stop or start")?;
            match what.as_str() {
                "kill" => sim.kill_agent(&host)?,
                "stop" => sim.set_agent(&host, false)?,
                "start" => sim.set_agent(&host, true)?,
                _ => return Err(WordError::Extra(what)),
            }
        }
        "guard" => {
            let host = words.parse("host")?;
            if !words.takes("kill") {
                return Err(WordError::Missing("kill"));
            }
            sim.kill_guard(&host)?;
        }
        "libvirt" => {
            let host = words.parse("host")?;
            let what = words.word("kill or slow")?;
            match what.as_str() {
                "kill" if words.is_empty() => sim.kill_libvirt(&host, RESTART_MS)?,
                "kill" => sim.kill_libvirt(&host, words.time_ms()?)?,
                "slow" => {
                    let ms = words.time_ms()?;
                    sim.slow_libvirt(&host, ms, words.takes("lists"))?;
                }
                _ => return Err(WordError::Extra(what)),
            }
        }
        "freeze" => {
            let process = words.word("agent, libvirt or guard")?;
            let host = words.parse("host")?;
            let ms = words.time_ms()?;
            match process.as_str() {
                "agent" => sim.freeze_agent(&host, ms)?,
                "libvirt" => sim.freeze_libvirt(&host, ms)?,
                "guard" => sim.freeze_guard(&host, ms)?,
                _ => return Err(WordError::Extra(process)),
            }
        }
        "kills" => {
            if !words.takes("take") {
                return Err(WordError::Missing("take"));
            }
            sim.ctx.kill_extra_ms = words.time_ms()?.saturating_sub(KILL_MS);
        }
        "sabotage" => sim.sabotage_guard(&words.parse("host")?)?,
        "clock" => clock(sim, words)?,
        "voter" => {
            let site = words.parse("site")?;
            sim.set_voter(
                &site,
                matches!(words.word("start or stop")?.as_str(), "start"),
            )?;
        }
        "store" if words.takes("compact") => sim.compact_store(),
        "store" if words.takes("backup") => sim.back_up_store(),
        "store" if words.takes("restore") => sim.restore_store()?,
        "watch" if words.takes("gap") => {
            let name = words.word("site or host")?;
            sim.watch_gap(&name, words.time_ms()?)?;
        }
        "pause-leader" => {
            let steps = words.parse("steps")?;
            sim.pause_leader(steps, words.time_ms()?);
        }
        "lose-replies" => {
            let name = words.word("site or host")?;
            let times = words.next().map(|word| parse("times", &word)).transpose()?;
            sim.lose_replies(&name, times.unwrap_or(1))?;
        }
        "probes" if words.takes("lose") => sim.lose_probes(words.parse("percent")?),
        "crash" => {
            let vm = words.parse("VM")?;
            match words.takes("on") {
                true => sim.crash_on(&vm, &words.parse("host")?)?,
                false => sim.crash(&vm)?,
            }
        }
        "guest-shutdown" => sim.guest_shutdown(&words.parse("VM")?)?,
        "io-error" => sim.io_error(&words.parse("VM")?)?,
        "stubborn" => sim.make_stubborn(&words.parse("VM")?),
        "fail-start" => {
            let host = words.parse("host")?;
            let vm = words.parse("VM")?;
            let reason = words.word("libvirt's words")?;
            let times = words.next().map(|word| parse("times", &word)).transpose()?;
            sim.fail_starts(&host, &vm, &reason, times.unwrap_or(1))?;
        }
        "lose-finish" => {
            let vm = words.parse("VM")?;
            let lose = on_off(words)?;
            sim.lose_finish(&vm, lose);
        }
        "storage" => {
            let end = end_of(sim, &words.word("site or host")?)?;
            let state = storage_state(&words.word("state")?)?;
            sim.storage(&end, &state)?;
        }
        _ => return Err(WordError::Verb),
    }
    Ok(())
}

fn fence(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let host = words.parse("host")?;
    let mut device = Device::default();
    let behaviour = words.word("how its device behaves")?;
    device.behaviour = match behaviour.as_str() {
        "answers" => Behaviour::Answers,
        "lies" => Behaviour::Lies,
        "half-lies" => Behaviour::LiesWhileHeard,
        "hangs" => Behaviour::Hangs,
        "refuses" => Behaviour::Refuses,
        "idles" => Behaviour::Idles,
        "mumbles" => Behaviour::Mumbles,
        _ => {
            let known = "use answers, lies, half-lies, hangs, refuses, idles or mumbles";
            return Err(bad("behaviour", &behaviour, known));
        }
    };
    if !words.is_empty() {
        device.takes_ms = words.time_ms()?;
    }
    Ok(sim.set_device(&host, device)?)
}

fn clock(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let name = words.word("host or site")?;
    match words.word("drift or step")?.as_str() {
        "drift" => sim.drift(&parse("host", &name)?, words.parse("parts per million")?)?,
        "step" => {
            let forward = match words.take_sign() {
                Some('+') => 1,
                Some('-') => -1,
                _ => return Err(WordError::Missing("+ or -")),
            };
            let ms = i64::try_from(words.time_ms()?).unwrap_or(i64::MAX);
            sim.step_clock(&parse("site", &name)?, forward * ms)?;
        }
        word => return Err(WordError::Extra(word.to_owned())),
    }
    Ok(())
}

fn power(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let kind = words.word("host or site")?;
    match kind.as_str() {
        "host" => {
            let host = words.parse("host")?;
            sim.power_host(&host, on_off(words)?)?;
        }
        "site" => {
            let site = words.parse("site")?;
            sim.power_site(&site, on_off(words)?)?;
        }
        _ => return Err(WordError::Extra(kind)),
    }
    Ok(())
}

fn manager(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let site = words.parse("site")?;
    let what = words.word("kill, stop, start or pause")?;
    match what.as_str() {
        "kill" => sim.kill_manager(&site)?,
        "stop" => sim.stop_manager(&site)?,
        "start" => sim.start_manager(&site)?,
        "pause" => {
            let ms = words.time_ms()?;
            sim.pause_manager(&site, ms)?;
        }
        _ => return Err(WordError::Extra(what)),
    }
    Ok(())
}

fn storage_state(word: &str) -> Result<StorageState, WordError> {
    Ok(match word {
        "synced" => StorageState::Synced,
        "syncing" => StorageState::Degraded {
            detail: "1 copy behind".to_owned(),
        },
        "unusable" => StorageState::Unusable {
            reason: "input/output error".to_owned(),
        },
        _ => return Err(bad("storage", word, "use synced, syncing or unusable")),
    })
}
