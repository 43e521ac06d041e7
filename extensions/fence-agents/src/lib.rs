//! Switches hosts off by fence agents: programs that answer with their exit code (FenceAgentAPI.md of
//! ClusterLabs). A device binds the role `agent` to one of `[fence_agents]` in manager.toml; its options go to
//! the program as they are.
//!
//! ```text
//! action=off, on  0: done                      anything else: not, or not to be verified
//! action=status   0: on          2: off        anything else: it could not be reached
//! ```

use holdfast_extension::agent::{Action, Argument, Ended, Error, run};
use holdfast_extension::fencing::{Device, Fence, Ordered, Power};

/// The role that a device binds to a program.
const ROLE: &str = "agent";

/// Exported as the extension.
pub struct Bridge;

impl Fence for Bridge {
    fn off(device: &Device) -> Ordered {
        ordered(ask(device, Action::Off))
    }

    fn on(device: &Device) -> Ordered {
        ordered(ask(device, Action::On))
    }

    fn status(device: &Device) -> Power {
        power(ask(device, Action::Status))
    }
}

// Only there: the names that a component exports are none that a linker of this machine takes.
#[cfg(target_arch = "wasm32")]
holdfast_extension::export_fence!(Bridge);

fn ask(device: &Device, action: Action) -> Result<Ended, Error> {
    let settings = device.settings.iter();
    let arguments: Vec<Argument> = settings
        .map(|setting| Argument {
            name: setting.name.clone(),
            value: setting.value.clone(),
        })
        .collect();
    run(ROLE, action, &arguments)
}

fn ordered(ended: Result<Ended, Error>) -> Ordered {
    match ended {
        Ok(Ended {
            exit_code: Some(0), ..
        }) => Ordered::Accepted,
        // It may have switched the power and failed afterwards.
        Ok(ended) => Ordered::Unknown(words(&ended)),
        Err(Error::Unanswered(why)) => Ordered::Unknown(why),
        Err(Error::NoProgram(why) | Error::NotAllowed(why) | Error::NotStarted(why)) => {
            Ordered::Refused(why)
        }
    }
}

fn power(ended: Result<Ended, Error>) -> Power {
    match ended {
        Ok(Ended {
            exit_code: Some(0), ..
        }) => Power::On,
        Ok(Ended {
            exit_code: Some(2), ..
        }) => Power::Off,
        Ok(ended) => Power::Unknown(words(&ended)),
        Err(
            Error::NoProgram(why)
            | Error::NotAllowed(why)
            | Error::NotStarted(why)
            | Error::Unanswered(why),
        ) => Power::Unknown(why),
    }
}

fn words(ended: &Ended) -> String {
    let code = match ended.exit_code {
        Some(code) => format!("exit code {code}"),
        None => "a signal ended it".to_owned(),
    };
    let last = ended
        .said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty());
    match last {
        Some(last) => format!("{code}: {}", last.trim()),
        None => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: Option<i32>) -> Result<Ended, Error> {
        Ok(Ended {
            exit_code,
            said: "a line\nno route to host\n\n".to_owned(),
        })
    }

    #[test]
    fn only_two_of_a_status_is_off() {
        for code in [Some(1), Some(3), Some(-1), None] {
            assert!(matches!(power(ended(code)), Power::Unknown(_)), "{code:?}");
        }
        assert!(matches!(power(ended(Some(0))), Power::On));
        assert!(matches!(power(ended(Some(2))), Power::Off));
        assert!(matches!(
            power(Err(Error::Unanswered(String::new()))),
            Power::Unknown(_)
        ));
    }

    #[test]
    fn an_order_that_failed_may_have_been_done() {
        assert!(matches!(ordered(ended(Some(0))), Ordered::Accepted));
        for code in [Some(1), Some(2), None] {
            let Ordered::Unknown(why) = ordered(ended(code)) else {
                panic!("{code:?}");
            };
            assert!(why.ends_with(": no route to host"), "{why}");
        }
        assert!(matches!(
            ordered(Err(Error::NotStarted("no".to_owned()))),
            Ordered::Refused(_)
        ));
    }
}
