//! `holdfast ext …`: extensions. The verbs for their authors work on files and ask no manager; those for operators
//! ([`installed`]) are about what the cluster uses.
//!
//! Without the crate's feature `extensions` there is no sandbox in this program: the words stay, so that scripts
//! and `--help` are the same everywhere, and those verbs say what is missing.

mod arguments;
mod decisions;
mod installed;
#[cfg(feature = "extensions")]
mod local;
mod logs;
mod package;
mod requests;
mod sign;
mod versions;

use super::Session;
use super::args::Sure;
use super::error::CliError;
use arguments::{BuildArguments, NewArguments, ReplayArguments, TryArguments, WhichArguments};
use clap::Subcommand;
use holdfast_model::id::ExtensionName;
use installed::InstallArguments;
use sign::{KeygenArguments, SignArguments};

/// `holdfast ext …`
#[derive(Debug, Subcommand)]
pub enum ExtCommand {
    /// Start an extension: a folder that builds and works as it is
    New(NewArguments),
    /// Build an extension's folder into a component
    Build(BuildArguments),
    /// Hold a component against its manifest and its contract; nothing of it is run
    Check(WhichArguments),
    /// Run an extension against made-up questions, and what its test.toml adds, and see whether it keeps its contract
    /// and its limits
    Test(TryArguments),
    /// Ask an extension what others were asked in decisions, and compare the answers
    Replay(ReplayArguments),
    /// Misbehave at an extension, and see what becomes of it
    Chaos(TryArguments),
    /// Make a key to sign extensions with
    Keygen(KeygenArguments),
    /// Vouch for an extension: a signature over its component and its manifest
    Sign(SignArguments),
    /// Have the cluster use an extension, or another version of it; shows what it may and asks
    Install(InstallArguments),
    /// What is installed, and whether all that ask it have it ready
    List,
    /// One: what it may, what it costs, how it stands on each manager or host that asks it
    Show {
        /// Its name
        name: ExtensionName,
    },
    /// What it wrote to its log, on each manager or host that asks it
    Logs {
        /// Its name
        name: ExtensionName,
        /// What the version wrote that is tried beside it
        #[arg(long)]
        shadow: bool,
    },
    /// What it was asked in decisions, and what it said: with `-o json` a file for `ext replay`
    Decisions {
        /// Its name
        name: ExtensionName,
    },
    /// What extensions had managers and hosts' agents send and run, and what became of it: fencing devices, webhooks
    Requests,
    /// Make its shadow the installed version; shows what it may newly and asks
    Promote {
        /// Its name
        name: ExtensionName,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
    /// Go back to the version before, with what was granted to it and its limits; a second time goes back again
    Rollback {
        /// Its name
        name: ExtensionName,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
    /// Not to be used any more
    Remove {
        /// Its name
        name: ExtensionName,
        /// Only the version that is tried beside it
        #[arg(long)]
        shadow: bool,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
}

impl Session {
    /// Carries it out.
    pub(super) fn ext(&self, command: &ExtCommand) -> Result<(), CliError> {
        match command {
            ExtCommand::New(arguments) => local::new(arguments, self.output),
            ExtCommand::Build(arguments) => local::build(arguments, self.output),
            ExtCommand::Check(which) => local::check(which, self.output),
            ExtCommand::Test(arguments) => local::test(arguments, self.output),
            ExtCommand::Replay(arguments) => local::replay(arguments, self.output),
            ExtCommand::Chaos(arguments) => local::chaos(arguments, self.output),
            ExtCommand::Keygen(arguments) => sign::keygen(arguments, self.output),
            ExtCommand::Sign(arguments) => sign::sign(arguments, self.output),
            ExtCommand::Install(arguments) => self.ext_install(arguments),
            ExtCommand::List => self.ext_list(),
            ExtCommand::Show { name } => self.ext_show(name),
            ExtCommand::Logs { name, shadow } => self.ext_logs(name, *shadow),
            ExtCommand::Decisions { name } => self.ext_decisions(name),
            ExtCommand::Requests => self.ext_requests(),
            ExtCommand::Promote { name, sure } => self.ext_promote(name, *sure),
            ExtCommand::Rollback { name, sure } => self.ext_rollback(name, *sure),
            ExtCommand::Remove {
                name,
                shadow: true,
                sure,
            } => self.ext_remove_shadow(name, *sure),
            ExtCommand::Remove { name, sure, .. } => self.ext_remove(name, *sure),
        }
    }
}

/// In place of the verbs for authors.
#[cfg(not(feature = "extensions"))]
mod local {
    use super::super::args::Output;
    use super::super::error::CliError;
    use super::arguments::{
        BuildArguments, NewArguments, ReplayArguments, TryArguments, WhichArguments,
    };

    fn absent() -> Result<(), CliError> {
        let text = "this `holdfast` was built without the sandbox of extensions; use one that was built with \
                    `cargo build --package holdfast-manager --features extensions`";
        Err(CliError::Extension(text.to_owned()))
    }

    pub(super) fn new(_: &NewArguments, _: Output) -> Result<(), CliError> {
        absent()
    }

    pub(super) fn build(_: &BuildArguments, _: Output) -> Result<(), CliError> {
        absent()
    }

    pub(super) fn check(_: &WhichArguments, _: Output) -> Result<(), CliError> {
        absent()
    }

    pub(super) fn test(_: &TryArguments, _: Output) -> Result<(), CliError> {
        absent()
    }

    pub(super) fn replay(_: &ReplayArguments, _: Output) -> Result<(), CliError> {
        absent()
    }

    pub(super) fn chaos(_: &TryArguments, _: Output) -> Result<(), CliError> {
        absent()
    }
}
