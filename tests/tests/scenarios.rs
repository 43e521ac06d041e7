//! Every scenario file against its golden log: one test a file. `UPDATE_GOLDEN=1` writes the logs
//! anew; what changed shows in the diff.

use holdfast_tests::scenario::{check, golden};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Where several checkouts share a target directory, another one may have built this.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = own.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let folder = own.join("scenarios");
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
            .collect(),
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    files.sort();
    let update = std::env::var_os(golden::UPDATE).is_some();
    let mut trials: Vec<Trial> = files
        .into_iter()
        .map(|file| {
            let name = file
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            Trial::test(name, move || report(&file, update))
        })
        .collect();
    trials.push(Trial::test("there are scenarios", {
        let count = trials.len();
        move || match count {
            0 => Err(Failed::from("no scenario file was found")),
            _ => Ok(()),
        }
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn report(file: &Path, update: bool) -> Result<(), Failed> {
    let outcome = check(file, update);
    match outcome.problems.is_empty() {
        true => Ok(()),
        false => Err(Failed::from(outcome.problems.join("\n"))),
    }
}
