//! An extension's files: its component, its manifest, and who vouches for them.

use super::super::error::CliError;
use holdfast_extension_signature::{FILE, SignatureFile};
use holdfast_model::extension::{MANIFEST, Manifest, component_fault};
use holdfast_model::id::ExtensionName;
use holdfast_model::signature::Signed;
use holdfast_strict::read_checked;
use std::path::{Path, PathBuf};

/// What is to be signed or installed.
pub(super) struct Package {
    pub manifest: Manifest,
    /// What the manifest was read from, to the byte.
    pub text: String,
    pub manifest_path: PathBuf,
    pub wasm: Vec<u8>,
}

impl Package {
    /// From its folder, or the component's file; the manifest is the extension.toml there unless another is named. One
    /// of more than 8 MiB only if `large`.
    pub(super) fn read(
        path: &Path,
        manifest: Option<&Path>,
        large: bool,
    ) -> Result<Self, CliError> {
        let beside = match path.is_dir() {
            true => path.to_owned(),
            false => path.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let manifest_path = manifest.map_or_else(|| beside.join(MANIFEST), Path::to_owned);
        if !path.exists() {
            return Err(about(path, NOT_THERE.to_owned()));
        }
        if manifest.is_none() && !manifest_path.is_file() {
            return Err(CliError::Extension(no_manifest(&beside)));
        }
        let shown = manifest_path.display().to_string();
        let text = text(&manifest_path)?;
        let manifest = read_checked(&text, &shown, Manifest::fault)?;
        let component = match path.is_dir() {
            true => built(path, &manifest.name)?,
            false => path.to_owned(),
        };
        let wasm = taken(&component, large)?;
        Ok(Self {
            manifest,
            text,
            manifest_path,
            wasm,
        })
    }

    /// Where its signature stands unless another file is named: beside its manifest.
    pub(super) fn signature_path(&self) -> PathBuf {
        self.manifest_path.with_file_name(FILE)
    }

    /// Who vouches for it; nobody, if there is no such file and none was named.
    pub(super) fn signed(&self, named: Option<&Path>) -> Result<Option<Signed>, CliError> {
        let beside = self.signature_path();
        let path = match named {
            None if !beside.exists() => return Ok(None),
            None => &beside,
            Some(path) => path,
        };
        let file = SignatureFile::read(&text(path)?, &path.display().to_string())?;
        Ok(Some(file.over(self.text.clone())))
    }
}

const NOT_THERE: &str = "not there; give the folder of an extension, or its component's file with extension.toml beside it";

/// In words, where one was looked for.
pub(super) fn no_manifest(folder: &Path) -> String {
    format!(
        "{}: no {MANIFEST} there; give the folder of an extension, or start one with `holdfast ext new`",
        folder.display()
    )
}

fn about(path: &Path, what: String) -> CliError {
    CliError::Content {
        path: path.display().to_string(),
        what,
    }
}

/// A file that people write or see.
pub(super) fn text(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|source| CliError::Read {
        path: path.display().to_string(),
        source,
    })
}

/// What a cluster would refuse for its size alone is not even read.
fn taken(component: &Path, large: bool) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read {
        path: component.display().to_string(),
        source,
    };
    let length = std::fs::metadata(component).map_err(failed)?.len();
    match component_fault(length, large) {
        Some(why) => Err(about(component, why)),
        None => std::fs::read(component).map_err(failed),
    }
}

fn built(dir: &Path, name: &ExtensionName) -> Result<PathBuf, CliError> {
    let names = [format!("{name}.wasm"), "component.wasm".to_owned()];
    let mut found = names
        .iter()
        .map(|file| dir.join(file))
        .filter(|path| path.is_file());
    found.next().ok_or_else(|| {
        let what = format!(
            "there is no {} in it; `holdfast ext build` makes it",
            names[0]
        );
        about(dir, what)
    })
}
