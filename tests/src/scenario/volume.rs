//! `san …`, `sector …` and `claim …`: the way to the storage, and what stands on the lease volume.

use super::words::{WordError, Words, bad};
use crate::sim::Sim;
use crate::sim::damage::Damage;

/// Carries it out.
pub fn carry_out(sim: &mut Sim, verb: &str, words: &mut Words) -> Result<(), WordError> {
    match verb {
        "sector" => {
            let host = words.parse("host")?;
            sim.damage_sector(&host, damage(&words.word("damage")?)?)?;
        }
        "claim" => {
            let vm = words.parse("VM")?;
            sim.damage_claim(&vm, damage(&words.word("damage")?)?)?;
        }
        _ => storage(sim, words)?,
    }
    Ok(())
}

fn storage(sim: &mut Sim, words: &mut Words) -> Result<(), WordError> {
    let what = words.word("cut, heal, slow, stall, go, lose, renew, truncate or repair")?;
    match what.as_str() {
        "cut" => sim.cut_storage(&words.parse("host")?, true)?,
        "heal" => sim.cut_storage(&words.parse("host")?, false)?,
        "stall" => sim.stall_storage(true)?,
        "go" => sim.stall_storage(false)?,
        "slow" => sim.ctx.san.slow_ms = words.time_ms()?,
        "lose" => sim.lose_volume(true)?,
        "renew" => sim.lose_volume(false)?,
        "truncate" => sim.truncate_volume(words.parse("heartbeat slots")?)?,
        "repair" => sim.repair_claims()?,
        _ => return Err(WordError::Extra(what)),
    }
    Ok(())
}

fn damage(word: &str) -> Result<Damage, WordError> {
    Ok(match word {
        "torn" => Damage::Torn,
        "zeroed" => Damage::Zeroed,
        "foreign" => Damage::Foreign,
        "flipped" => Damage::Flipped,
        _ => return Err(bad("damage", word, "use torn, zeroed, foreign or flipped")),
    })
}
