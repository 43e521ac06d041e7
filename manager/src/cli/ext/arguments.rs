//! What the verbs that need no manager are told.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use holdfast_model::extension::ExtensionKind;
use holdfast_model::id::ExtensionName;
use std::path::PathBuf;

/// As the authoring kit spells them.
pub(super) const LANGUAGES: [&str; 4] = ["rust", "js", "python", "c"];

/// A kind by its word.
fn kind() -> impl TypedValueParser<Value = ExtensionKind> {
    let words = PossibleValuesParser::new(ExtensionKind::ALL.map(ExtensionKind::word));
    words.try_map(|word| {
        let mut all = ExtensionKind::ALL.into_iter();
        all.find(|kind| kind.word() == word)
            .ok_or_else(|| format!("`{word}` is no kind of extensions"))
    })
}

/// `holdfast ext new`
#[derive(Debug, Args)]
pub struct NewArguments {
    /// The folder to make; it is also the extension's name
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// What it is for
    #[arg(long, value_parser = kind())]
    pub kind: ExtensionKind,
    /// What it is written in
    #[arg(long, value_parser = PossibleValuesParser::new(LANGUAGES))]
    pub lang: String,
    /// Its name, if it is not that of the folder
    #[arg(long)]
    pub name: Option<ExtensionName>,
}

/// `holdfast ext build`
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// The extension's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// The component's file; NAME.wasm in the folder if left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Which extension is looked at.
#[derive(Debug, Args)]
pub struct WhichArguments {
    /// The extension's folder, or a component's file
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    pub path: PathBuf,
    /// Its manifest; `extension.toml` in the folder, or beside the component, if left out
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Also one of more than 8 MiB, as Python's are; its operator has to allow that too
    #[arg(long)]
    pub large: bool,
}

/// `holdfast ext test`, `holdfast ext chaos`
#[derive(Debug, Args)]
pub struct TryArguments {
    /// Who is tried
    #[command(flatten)]
    pub which: WhichArguments,
    /// Show what it writes to its log, with what it was asked then
    #[arg(long)]
    pub log: bool,
}

/// `holdfast ext replay`
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Who is asked
    #[command(flatten)]
    pub which: WhichArguments,
    /// What was asked and answered, as `holdfast ext decisions NAME -o json` has it; - is the standard input
    #[arg(long, value_name = "FILE")]
    pub decisions: PathBuf,
    /// Compare with what another extension said; with what one of the same name said if left out
    #[arg(long, value_name = "NAME")]
    pub of: Option<ExtensionName>,
    /// CPU time of one call in milliseconds, instead of what the manifest says
    #[arg(long, value_name = "MS")]
    pub cpu_ms: Option<u64>,
    /// Memory in MiB, instead of what the manifest says
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<u64>,
}
