//! What managers find that ask hosts directly, drawn at random, and what may follow from it at the most.

use crate::common::name;
use holdfast_model::id::{HostName, ManagerName};
use holdfast_model::probe::{Heard, Silence, Vantage};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use proptest::prelude::*;

/// The leader, another manager at its site, and one elsewhere.
const MANAGERS: [(&str, &str); 3] = [("m1", "b"), ("m2", "b"), ("m3", "w")];

/// Of one manager and one host: life, since when and for how long it is silent, and before how long the
/// answer came that it heard, if it did.
type Look = Option<(u8, u64, u64, Option<u64>)>;

/// Per host, of all managers.
pub type ProbeDraw = [Look; 3];

pub fn probe_draw() -> impl Strategy<Value = ProbeDraw> {
    let silent = prop_oneof![0..4_000u64, Just(800), Just(799)];
    let heard = prop::option::weighted(0.2, 0..1_600u64);
    let look = (1..3u8, silent.clone(), silent, heard);
    prop::array::uniform3(prop::option::weighted(0.5, look))
}

pub fn put_probes(w: &mut World, host: &str, draw: &ProbeDraw) {
    let now = w.now;
    for ((by, site), look) in MANAGERS.iter().zip(draw) {
        let Some((life, age_ms, for_ms, heard_ms)) = look else {
            continue;
        };
        let vantage = w.probes.entry(name(by)).or_insert_with(|| Vantage {
            site: name(site),
            silent: Default::default(),
            heard: Default::default(),
        });
        let incarnation = || name(&format!("i{life}"));
        let silence = Silence {
            incarnation: incarnation(),
            since: Instant(now.0 - age_ms),
            for_ms: *for_ms,
        };
        vantage.silent.insert(name(host), silence);
        if let Some(ms) = heard_ms {
            let at = Instant(now.0 - ms);
            let (incarnation, asked_at) = (incarnation(), at);
            let heard = Heard {
                incarnation,
                asked_at,
                at,
            };
            vantage.heard.insert(name(host), heard);
        }
    }
}

/// The host's session has been silent for as long as suspicion takes; or for a heartbeat and more, and both
/// sites have asked it in vain for long enough.
pub fn may_be_suspect(w: &World, host: &HostName) -> bool {
    let timing = w.policy.timing.resolve();
    let Some(session) = w.hosts[host].session.as_ref() else {
        return false;
    };
    let silence_ms = w.now.since(session.seen_at.max(w.view_since));
    let in_vain = |by: &str| {
        let vantage = w.probes.get(&name::<ManagerName>(by));
        let silence = vantage.and_then(|vantage| vantage.silent.get(host));
        silence.is_some_and(|silence| silence.for_ms >= timing.probe_suspect_ms)
    };
    let both = (in_vain("m1") || in_vain("m2")) && in_vain("m3");
    silence_ms >= timing.suspect_after_ms || (both && silence_ms > timing.heartbeat_ms)
}
