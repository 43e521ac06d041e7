//! Tools of other languages: found on the machine, or kept in the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::quietly;
use crate::{KitError, Language, Result};

/// Makes components of JavaScript; from npm.
const QJS: (&str, &str) = ("componentize-qjs", "0.4.5");
/// Makes components of Python; from PyPI.
const PY: (&str, &str) = ("componentize-py", "0.25.1");

/// Where the tools are that the kit fetches itself.
#[derive(Debug, Clone)]
pub struct Tools {
    dir: PathBuf,
}

impl Tools {
    /// In the user's cache: `$XDG_CACHE_HOME/holdfast/tools`, or that under `~/.cache`.
    pub fn of_user() -> Self {
        let own = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = own("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let cache = cache.or_else(|| Some(own("HOME")?.join(".cache")));
        // Without a home nothing is kept.
        let cache = cache.unwrap_or_else(std::env::temp_dir);
        Self::at(&cache.join("holdfast/tools"))
    }

    /// In this directory.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The componentizer of JavaScript, fetched if it is not there yet.
    pub(crate) fn qjs(&self, say: &dyn Fn(&str)) -> Result<PathBuf> {
        let (name, version) = QJS;
        let program = "node_modules/.bin/componentize-qjs";
        self.fetched(QJS, program, say, |dir| {
            let how = "install Node.js 20 or newer with npm (Debian: `apt-get install npm`)";
            let npm = needed("npm", Language::JavaScript, how)?;
            let mut command = Command::new(npm);
            command.args(["install", "--no-fund", "--no-audit", "--prefix"]);
            quietly(command.arg(dir).arg(format!("{name}@{version}"))).map(drop)
        })
    }

    /// The componentizer of Python, fetched if it is not there yet.
    pub(crate) fn py(&self, say: &dyn Fn(&str)) -> Result<PathBuf> {
        let (name, version) = PY;
        self.fetched(PY, "bin/componentize-py", say, |dir| {
            let how = "install Python 3.10 or newer (Debian: `apt-get install python3-venv`)";
            let python = needed("python3", Language::Python, how)?;
            quietly(Command::new(python).args(["-m", "venv"]).arg(dir))?;
            let mut pip = Command::new(dir.join("bin/pip"));
            pip.args([
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
            ]);
            quietly(pip.arg(format!("{name}=={version}"))).map(drop)
        })
    }

    /// Whether what an extension of the language needs is there or can be fetched: if not, why.
    pub fn lacking(&self, language: Language) -> Option<String> {
        let kept = |(name, version): (&str, &str)| self.dir.join(format!("{name}-{version}"));
        match language {
            Language::JavaScript if find("node").is_none() => Some("there is no node".to_owned()),
            Language::JavaScript if !kept(QJS).exists() && find("npm").is_none() => {
                Some("there is no npm to fetch componentize-qjs".to_owned())
            }
            Language::Python if !kept(PY).exists() && find("python3").is_none() => {
                Some("there is no python3 to fetch componentize-py".to_owned())
            }
            _ => None,
        }
    }

    /// A mark is written when it is complete: one that was interrupted is never taken for a whole one.
    fn fetched(
        &self,
        (name, version): (&str, &str),
        program: &str,
        say: &dyn Fn(&str),
        fetch: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let dir = self.dir.join(format!("{name}-{version}"));
        let done = dir.join(".complete");
        if done.is_file() {
            return Ok(dir.join(program));
        }
        std::fs::create_dir_all(&dir).map_err(KitError::io("create", &dir))?;
        // Builds that run at the same time: one fetches it, the others wait.
        let path = self.dir.join(format!("{name}-{version}.lock"));
        let lock = std::fs::File::create(&path).map_err(KitError::io("create", &path))?;
        lock.lock().map_err(KitError::io("lock", &path))?;
        if !done.is_file() {
            say(&format!(
                "fetching {name} {version} (once, into {})",
                dir.display()
            ));
            fetch(&dir)?;
            std::fs::write(&done, "").map_err(KitError::io("write", &done))?;
        }
        Ok(dir.join(program))
    }
}

/// Directories of programs that are not always on the PATH.
const SYSTEM_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The full path of a program.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_PATH.iter().map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The full path of a program, or how to get it.
pub(crate) fn needed(program: &str, language: Language, how: &str) -> Result<PathBuf> {
    find(program).ok_or_else(|| KitError::Missing {
        what: program.to_owned(),
        language,
        how: how.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn builds_at_the_same_time_fetch_a_tool_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let tools = Tools::at(dir.path());
        let (fetched, start) = (AtomicUsize::new(0), Barrier::new(8));
        let get = || {
            start.wait();
            let fetch = |into: &Path| {
                fetched.fetch_add(1, Ordering::Relaxed);
                let program = into.join("program");
                std::fs::write(&program, "").map_err(KitError::io("write", &program))
            };
            let program = tools.fetched(("tool", "1.0.0"), "program", &|_| {}, fetch);
            assert!(program.expect("a tool").is_file());
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(get))));
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
    }
}
