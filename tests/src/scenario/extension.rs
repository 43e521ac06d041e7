//! `extension NAME …`.

use super::words::{WordError, Words, bad};
use crate::sim::Sim;
use crate::sim::extension::Behaviour;
use holdfast_model::advice::Fallback;

/// Carries it out: installs one, changes it, or removes it.
pub fn carry_out(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let name = words.parse("extension")?;
    let what = words.word("keeps-off, prefers, fails or removed")?;
    let behaviour = match what.as_str() {
        "keeps-off" => Behaviour::KeepsOff(words.parse("host")?),
        "prefers" => Behaviour::Prefers(words.parse("host")?),
        "fails" => Behaviour::Fails,
        "removed" => return Ok(sim.uninstall(&name)?),
        _ => {
            return Err(bad(
                "behaviour",
                &what,
                "use keeps-off, prefers, fails or removed",
            ));
        }
    };
    let then = match words.takes("open") {
        true => Fallback::Open,
        false => Fallback::Closed,
    };
    Ok(sim.install(name, behaviour, then)?)
}
