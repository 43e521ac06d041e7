//! `holdfast`: the operator's command line. Data goes to the standard output, everything else to
//! the standard error; exit codes are part of the interface.

pub mod args;
mod client;
mod confirm;
mod doctor;
mod error;
mod ext;
mod fence;
mod files;
mod lease;
mod paint;
mod show;
mod show_status;
mod show_timeline;
mod verbs;

pub use error::{CliError, Exit};

use args::{Cli, Command, ConfigCommand, HostCommand, Output, SiteCommand, VmCommand, WhyCommand};
use client::Client;
use std::io::Write;
use std::process::ExitCode;

/// Carries a command line out.
pub fn run(cli: &Cli) -> ExitCode {
    let result = Client::new(&cli.api).and_then(|client| {
        let session = Session {
            client,
            output: cli.output,
        };
        session.command(&cli.command)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe has seen enough.
        Err(CliError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let line = paint::Line::new()
                .add(paint::Tone::Bad, "error: ")
                .text(error.to_string());
            // Nothing can be told if this fails.
            writeln!(anstream::stderr().lock(), "{}", line.draw()).ok();
            ExitCode::from(error.exit() as u8)
        }
    }
}

/// One command's surroundings.
pub(crate) struct Session {
    client: Client,
    output: Output,
}

impl Session {
    fn command(&self, command: &Command) -> Result<(), CliError> {
        match command {
            Command::Status { watch } => self.status(*watch),
            Command::Host(command) => self.host(command),
            Command::Site(command) => self.site(command),
            Command::Vm(command) => self.vm(command),
            Command::Why(WhyCommand::Vm { vm, not_on }) => self.why_vm(vm, not_on.as_ref()),
            Command::Why(WhyCommand::Host { host }) => self.why_host(host),
            Command::Events {
                follow,
                vm,
                host,
                limit,
            } => self.events(*follow, vm.as_ref(), host.as_ref(), *limit),
            Command::Timeline { id } => self.timeline(id.as_deref()),
            Command::Rto => self.rto(),
            Command::Doctor { volume, wait } => self.doctor(volume.as_deref(), *wait),
            Command::Lease(command) => lease::run(command, self.output),
            Command::Ext(command) => self.ext(command),
            Command::Fence(command) => self.fence(command),
            Command::Config(ConfigCommand::Show) => self.config_show(),
            Command::Config(ConfigCommand::Schema { of }) => self.config_schema(*of),
            Command::Config(ConfigCommand::Apply {
                file,
                revision,
                replace_unread,
                dry,
            }) => self.config_apply(file, *revision, *replace_unread, *dry),
        }
    }

    fn host(&self, command: &HostCommand) -> Result<(), CliError> {
        match command {
            HostCommand::List => self.hosts(),
            HostCommand::Show { host } => self.why_host(host),
            HostCommand::Drain { host, dry } => self.post(&format!("/hosts/{host}/drain"), *dry),
            HostCommand::Resume { host, dry } => self.post(&format!("/hosts/{host}/resume"), *dry),
            HostCommand::ConfirmOff { host, sure } => {
                self.post_if_sure(&format!("/hosts/{host}/confirm-off"), host.as_str(), *sure)
            }
            HostCommand::Forget { host, sure } => {
                self.post_if_sure(&format!("/hosts/{host}/forget"), host.as_str(), *sure)
            }
        }
    }

    fn site(&self, command: &SiteCommand) -> Result<(), CliError> {
        match command {
            SiteCommand::List => self.sites(),
            SiteCommand::Show { site } => self.site_show(site),
            SiteCommand::Drain { site, dry } => self.post(&format!("/sites/{site}/drain"), *dry),
            SiteCommand::Resume { site, dry } => self.post(&format!("/sites/{site}/resume"), *dry),
        }
    }

    fn vm(&self, command: &VmCommand) -> Result<(), CliError> {
        match command {
            VmCommand::List => self.vms(),
            VmCommand::Show { vm, xml } => self.vm_show(vm, *xml),
            VmCommand::Apply {
                file,
                revision,
                dry,
            } => self.vm_apply(file, *revision, *dry),
            VmCommand::Start { vm, dry } => self.post(&format!("/vms/{vm}/start"), *dry),
            VmCommand::Stop { vm, dry } => self.post(&format!("/vms/{vm}/stop"), *dry),
            VmCommand::Restart { vm, dry } => self.post(&format!("/vms/{vm}/restart"), *dry),
            VmCommand::Move { vm, to, dry } => {
                let to = to
                    .as_ref()
                    .map(|to| format!("?to={to}"))
                    .unwrap_or_default();
                self.post(&format!("/vms/{vm}/move{to}"), *dry)
            }
            VmCommand::Delete { vm, sure } => self.delete_if_sure(vm, *sure),
        }
    }
}

/// Prints data.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::Write)
}

/// Prints a JSON document.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| CliError::Write(error.into()))?;
    print(&(text + "\n"))
}

/// Tells people something that is no data.
pub(crate) fn hint(text: &str) {
    writeln!(anstream::stderr().lock(), "{text}").ok();
}
