//! `holdfast ext …`: extensions.

mod installed;

use super::Session;
use super::args::Sure;
use super::error::CliError;
use clap::Subcommand;
use holdfast_model::id::ExtensionName;
use installed::InstallArguments;

/// `holdfast ext …`
#[derive(Debug, Subcommand)]
pub enum ExtCommand {
    /// Have the cluster use an extension, or another version of it; shows what it may and asks
    Install(InstallArguments),
    /// What is installed, and whether every manager has it ready
    List,
    /// One: what it may, what it costs, how it stands on each manager
    Show {
        /// Its name
        name: ExtensionName,
    },
    /// What it wrote to its log on the manager that is asked
    Logs {
        /// Its name
        name: ExtensionName,
    },
    /// Not to be used any more
    Remove {
        /// Its name
        name: ExtensionName,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
}

impl Session {
    /// Carries it out.
    pub(super) fn ext(&self, command: &ExtCommand) -> Result<(), CliError> {
        match command {
            ExtCommand::Install(arguments) => self.ext_install(arguments),
            ExtCommand::List => self.ext_list(),
            ExtCommand::Show { name } => self.ext_show(name),
            ExtCommand::Logs { name } => self.ext_logs(name),
            ExtCommand::Remove { name, sure } => self.ext_remove(name, *sure),
        }
    }
}
