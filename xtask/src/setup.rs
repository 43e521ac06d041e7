//! `cargo xtask setup`: what the lab, the build and the tests need from the distribution.
//!
//! Services that come with the packages must not start: the lab starts its own, inside its
//! namespaces. A `policy-rc.d` that says so is in place for as long as apt runs, and whatever was
//! there before is put back by rename, untouched.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use clap::Args;
use holdfast_lab::guest::linux;
use holdfast_lab::programs::find;
use holdfast_lab::{LabError, Progress, Result, sushy};

/// To build `holdfast-host` (libvirt) and the etcd client (protobuf).
const BUILD: [&str; 6] = [
    "libvirt-dev",
    "protobuf-compiler",
    "libprotobuf-dev",
    "pkg-config",
    "gcc",
    "make",
];
/// To run the lab.
const LAB: [&str; 19] = [
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-system-x86",
    "etcd-server",
    "etcd-client",
    "glusterfs-server",
    "glusterfs-client",
    "nftables",
    "iproute2",
    "busybox-static",
    "cpio",
    "e2fsprogs",
    "attr",
    "strace",
    "libfaketime",
    "openssl",
    "python3-venv",
];
/// To build extensions in C; the linker serves Debian's Rust too.
const EXTENSIONS: [&str; 4] = [
    "clang-16",
    "lld-16",
    "wasi-libc",
    "libclang-rt-16-dev-wasm32",
];
/// To build extensions in Rust where rustup does not have the target or is not there.
const RUST_OF_DEBIAN: [&str; 2] = ["rustc-web", "rust-web-src"];
/// Package lists older than this are fetched again before anything is installed.
const STALE: Duration = Duration::from_secs(24 * 3600);

#[derive(Args)]
pub(crate) struct SetupArguments {
    /// Say what would be installed, and install nothing
    #[arg(long)]
    dry_run: bool,
}

/// The verb.
pub(crate) fn run(arguments: &SetupArguments) -> Result<ExitCode> {
    let progress = Progress::stderr();
    let missing = missing_packages()?;
    if arguments.dry_run {
        match missing.is_empty() {
            true => progress.line("all packages are installed"),
            false => progress.line(&format!("would install: {}", missing.join(" "))),
        }
        if linux::cached().is_none() {
            progress.line("would download a kernel package for the Linux guest, not install it");
        }
        if sushy::cached().is_none() {
            progress.line("would fetch OpenStack's Redfish emulator from PyPI, for one scenario");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if missing.is_empty() {
        progress.line("  all packages are installed");
    } else {
        install(&progress, &missing)?;
    }
    ensure_rust_target(&progress)?;
    if let Some(files) = linux::cached() {
        progress.line(&format!(
            "  the Linux guest's kernel is {}",
            files.kernel.display()
        ));
    } else {
        fetch_kernel(&progress)?;
    }
    fetch_sushy(&progress);
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing, and says nothing if that is nothing.
pub(crate) fn ensure(progress: &Progress) -> Result<()> {
    let missing = missing_packages()?;
    if !missing.is_empty() {
        install(progress, &missing)?;
    }
    ensure_rust_target(progress)?;
    if linux::cached().is_none() {
        fetch_kernel(progress)?;
    }
    fetch_sushy(progress);
    Ok(())
}

/// What `cargo xtask extensions` needs, and no more.
pub(crate) fn ensure_for_extensions(progress: &Progress) -> Result<()> {
    let missing = missing_of(EXTENSIONS)?;
    if !missing.is_empty() {
        install(progress, &missing)?;
    }
    ensure_rust_target(progress)
}

/// A compiler for extensions in Rust: rustup's, else Debian's.
fn ensure_rust_target(progress: &Progress) -> Result<()> {
    let say = |text: &str| progress.line(&format!("  {text}"));
    if holdfast_extension_kit::build::ensure_compiler(&say).is_ok() {
        return Ok(());
    }
    install(progress, &missing_of(RUST_OF_DEBIAN)?)?;
    let ready = holdfast_extension_kit::build::ensure_compiler(&say);
    ready.map_err(|error| LabError::Refused(error.to_string()))
}

fn fetch_kernel(progress: &Progress) -> Result<()> {
    let what = "download a kernel for the Linux guest (unpacked, not installed)";
    progress.step(what, || linux::fetch().map(drop))
}

/// A Redfish service that is not ours. One scenario of the lab needs it, and says so where it is missing; everything
/// else goes on without it.
fn fetch_sushy(progress: &Progress) {
    if sushy::cached().is_some() {
        return;
    }
    let what = "fetch OpenStack's Redfish emulator from PyPI";
    if let Err(error) = progress.step(what, sushy::fetch) {
        progress.line(&format!(
            "  note: without it `fence-redfish-foreign` cannot run: {error}"
        ));
    }
}

fn missing_packages() -> Result<Vec<&'static str>> {
    missing_of(BUILD.into_iter().chain(LAB).chain(EXTENSIONS))
}

fn missing_of(all: impl IntoIterator<Item = &'static str>) -> Result<Vec<&'static str>> {
    let all = all.into_iter();
    if find("apt-get").is_none() || find("dpkg-query").is_none() {
        let text = format!(
            "no apt here; install by other means what Debian calls: {}",
            all.collect::<Vec<_>>().join(" ")
        );
        return Err(LabError::Refused(text));
    }
    Ok(all
        .filter(|package| installed_version(package).is_none())
        .collect())
}

/// Standard output of a program that may fail: then none.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn installed_version(package: &str) -> Option<String> {
    let format = "--showformat=${db:Status-Status} ${Version}\n";
    // Some packages are there for several architectures, one line each.
    ask("dpkg-query", &["--show", format, package])?
        .lines()
        .find_map(|line| line.strip_prefix("installed ").map(str::to_owned))
}

fn candidate_version(package: &str) -> Option<String> {
    let policy = ask("apt-cache", &["policy", package])?;
    let line = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (line != "(none)").then(|| line.to_owned())
}

fn install(progress: &Progress, missing: &[&str]) -> Result<()> {
    let sudo = if is_root() { None } else { Some("sudo") };
    if sudo.is_some_and(|sudo| find(sudo).is_none()) {
        let text = format!(
            "installing needs root, and there is no sudo: {}",
            missing.join(" ")
        );
        return Err(LabError::Refused(text));
    }
    if lists_are_stale() {
        let mut update = as_root(sudo, "apt-get");
        update.args(["-o", "DPkg::Lock::Timeout=120", "--quiet", "update"]);
        progress.line("  apt-get update");
        let updated = must_succeed(&mut update);
        // Old lists are better than none; what they cannot serve the install reports.
        if let Err(error) = updated {
            progress.line(&format!(
                "  note: {error}; going on with the package lists there are"
            ));
        }
    }
    let unknown: Vec<&str> = missing
        .iter()
        .copied()
        .filter(|name| candidate_version(name).is_none())
        .collect();
    if !unknown.is_empty() {
        let text = format!(
            "this distribution's sources do not offer: {}",
            unknown.join(" ")
        );
        return Err(LabError::Refused(text));
    }
    let mut wanted: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let pinned = pin_qemu_utils(missing);
    if let Some((installed, candidate)) = &pinned {
        progress.line(&format!(
            "  note: qemu-utils {installed} is newer than the qemu-system-x86 {candidate} on \
             offer, and apt would refuse them together: qemu-utils goes back to {candidate}"
        ));
        wanted.push(format!("qemu-utils={candidate}"));
    }
    progress.line(&format!("  installing: {}", wanted.join(" ")));
    let mut install = as_root(sudo, "sh");
    install.args(["-c", INSTALL, "holdfast-setup"]);
    install.args(pinned.is_some().then_some("--allow-downgrades"));
    install.args(&wanted);
    // No spinner: apt, and sudo asking for a password, need the terminal for themselves.
    must_succeed(&mut install)
}

fn is_root() -> bool {
    ask("id", &["-u"]).is_some_and(|id| id == "0")
}

fn as_root(sudo: Option<&str>, program: &str) -> Command {
    match sudo {
        None => Command::new(program),
        Some(sudo) => {
            let mut command = Command::new(sudo);
            command.arg(program);
            command
        }
    }
}

/// Its output is shown, on standard error: there may be a password prompt in it.
fn must_succeed(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdout(std::io::stderr())
        .status()
        .map_err(LabError::io("start", name.clone()))?;
    if status.success() {
        return Ok(());
    }
    let stderr = "see its output above".to_owned();
    Err(LabError::Command {
        command: name,
        status: format!("ended with {status}"),
        stderr,
    })
}

/// Where `qemu-utils` (which shares files with the emulator's packages) is newer than the emulator
/// on offer, its installed version and the one it has to go back to.
fn pin_qemu_utils(missing: &[&str]) -> Option<(String, String)> {
    if !missing.contains(&"qemu-system-x86") {
        return None;
    }
    let installed = installed_version("qemu-utils")?;
    let candidate = candidate_version("qemu-system-x86")?;
    let newer = Command::new("dpkg")
        .args(["--compare-versions", &installed, "gt", &candidate])
        .status()
        .is_ok_and(|status| status.success());
    newer.then_some((installed, candidate))
}

/// When apt last fetched its lists is told by its directories: the files bear the server's dates.
fn lists_are_stale() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    let packages = std::fs::read_dir(lists).into_iter().flatten().flatten();
    // `…_Packages`, or `…_Packages.lz4` where apt keeps them compressed.
    if !packages
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    {
        return true;
    }
    let modified = |dir: &Path| std::fs::metadata(dir).and_then(|dir| dir.modified()).ok();
    let fetched = modified(lists).max(modified(&lists.join("partial")));
    let age = fetched.and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > STALE)
}

/// As root; arguments: those of `apt-get install`. A run that was killed left either our own
/// policy file, which is recognised by its text, or the one it had moved aside, or both.
const INSTALL: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
aside=$policy.before-holdfast-setup
mark='# holdfast setup: temporary'
put_back() {
    if [ -f "$policy" ] && grep -qxF "$mark" "$policy"; then rm -f "$policy"; fi
    if [ -e "$aside" ] || [ -L "$aside" ]; then mv -f "$aside" "$policy"; fi
}
put_back
trap put_back EXIT
trap 'exit 130' INT TERM HUP
if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$aside"; fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 --yes --quiet \
    --no-install-recommends install "$@"
"#;
