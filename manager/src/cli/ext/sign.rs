//! `holdfast ext keygen` and `holdfast ext sign`: who vouches for an extension. Both work on files and ask no manager.

use super::super::args::Output;
use super::super::error::CliError;
use super::super::paint::{Line, Tone};
use super::super::{hint, print, print_json};
use super::package::{Package, text};
use clap::Args;
use holdfast_extension_signature::{PrivateKey, SignatureFile};
use holdfast_model::component::digest;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `holdfast ext keygen`
#[derive(Debug, Args)]
pub struct KeygenArguments {
    /// The private key's file to make; nobody but you can read it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `holdfast ext sign`
#[derive(Debug, Args)]
pub struct SignArguments {
    /// Its folder (with extension.toml and the built component), or the component
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    pub path: PathBuf,
    /// The private key: `holdfast ext keygen` makes one, and so does `openssl genpkey -algorithm ed25519`
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Its manifest, if it is not the extension.toml beside the component
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
}

/// Makes a key.
pub(super) fn keygen(arguments: &KeygenArguments, output: Output) -> Result<(), CliError> {
    let file = &arguments.file;
    let (key, text) = PrivateKey::generate().map_err(|error| about(file, error.to_string()))?;
    write_private(file, &text)?;
    let public = key.public().to_string();
    if output == Output::Json {
        return print_json(&json!({"file": file, "public_key": public}));
    }
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "the private key is in {}; its public one is\n{public}",
        file.display()
    ));
    print(&(line.draw() + "\n"))?;
    hint(&format!(
        "keep the file to yourself; operators trust it with\n[extension_signers]\nrelease = \"{public}\"\nin their \
         policy (the name is theirs to choose)"
    ));
    Ok(())
}

/// Signs one.
pub(super) fn sign(arguments: &SignArguments, output: Output) -> Result<(), CliError> {
    // Whether a large one is taken is for who installs it to say.
    let package = Package::read(&arguments.path, arguments.manifest.as_deref(), true)?;
    let key = PrivateKey::from_pem(&text(&arguments.key)?)
        .map_err(|error| about(&arguments.key, error.to_string()))?;
    let digest = digest(&package.wasm);
    let signed = key.sign(&digest, &package.text);
    let manifest = &package.manifest;
    let name = format!("{} {}", manifest.name, manifest.version);
    let path = package.signature_path();
    let written = std::fs::write(&path, SignatureFile::from(&signed).text(&name));
    written.map_err(|source| cannot_write(&path, &source))?;
    if output == Output::Json {
        return print_json(&json!({
            "name": manifest.name, "version": manifest.version, "component": digest,
            "public_key": signed.key, "file": path,
        }));
    }
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "{name} is signed with {}: {}",
        signed.key.short(),
        path.display()
    ));
    print(&(line.draw() + "\n"))
}

/// Never over another file: what it signed could not be signed again.
fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => about(
            path,
            "there is such a file already, and a key is not overwritten; give another name"
                .to_owned(),
        ),
        _ => cannot_write(path, &error),
    })
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Extension(format!("cannot write {}: {error}", path.display()))
}

fn about(path: &Path, what: String) -> CliError {
    CliError::Content {
        path: path.display().to_string(),
        what,
    }
}
