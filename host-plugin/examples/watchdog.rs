//! Tries a watchdog of the machine it runs on, and RESETS THAT MACHINE: for a virtual machine only.
//! `docs/watchdog.md` has how it is run and what came out.
//!
//! ```text
//! start, petted over two time-outs ── release, nothing for two time-outs ──> still here
//! start, dropped without release ── start again ── stop_petting ──> reset within the bound
//! ```

use holdfast_host::guard::watchdog::{Watchdog, WatchdogChoice, WatchdogError};
use holdfast_store::clock::boottime;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks at the clock.
const STEP: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (device, timeout_s) = (arguments.next(), arguments.next());
    let timeout_s = timeout_s.and_then(|text| text.parse().ok());
    let (Some(device), Some(timeout_s)) = (device, timeout_s) else {
        eprintln!("usage: watchdog DEVICE SECONDS (resets this machine)");
        return ExitCode::from(2);
    };
    let device = device.into();
    match run(&WatchdogChoice::Own { device, timeout_s }) {
        Ok(()) => {
            say("FAILED: the machine was not reset");
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("FAILED: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(what: &str) {
    println!("W {} {what}", boottime());
}

fn run(choice: &WatchdogChoice) -> Result<(), WatchdogError> {
    let mut watchdog = start(choice)?;
    let two_bounds_ms = 2 * watchdog.bound_ms();
    let mut pets = 0;
    for_ms(two_bounds_ms, |_| {
        let due = watchdog.next_pet();
        watchdog.pet(boottime())?;
        pets += u32::from(watchdog.next_pet() != due);
        Ok(())
    })?;
    say(&format!(
        "petted {pets} times in {two_bounds_ms} ms, and still here"
    ));
    watchdog.release()?;
    for_ms(two_bounds_ms, |_| Ok(()))?;
    say(&format!(
        "released, {two_bounds_ms} ms without a pet, and still here"
    ));

    drop(start(choice)?);
    say("dropped without a release");
    let mut watchdog = start(choice)?;
    watchdog.stop_petting("this is what is tried");
    if let Err(error) = watchdog.release() {
        say(&format!("not released: {error}"));
    }
    say("not petted any more");
    for_ms(two_bounds_ms, |ms| {
        watchdog.pet(boottime())?;
        if ms % 1_000 == 0 {
            say(&format!("{ms} ms without a pet"));
        }
        Ok(())
    })
}

fn start(choice: &WatchdogChoice) -> Result<Watchdog, WatchdogError> {
    let watchdog = Watchdog::start(choice, boottime())?;
    let (identity, bound_ms) = (watchdog.identity(), watchdog.bound_ms());
    say(&format!("started: {identity}, {bound_ms} ms"));
    Ok(watchdog)
}

/// Calls it every step, with the milliseconds since the beginning.
fn for_ms(
    ms: u64,
    mut step: impl FnMut(u64) -> Result<(), WatchdogError>,
) -> Result<(), WatchdogError> {
    let steps = ms / STEP.as_millis() as u64;
    for number in 0..steps {
        std::thread::sleep(STEP);
        step((number + 1) * STEP.as_millis() as u64)?;
    }
    Ok(())
}
