//! What a lease of sanlock takes to be taken over in this very lab: the reference system's storage lease.
//!
//! Without its watchdog daemon and with the shortest I/O time-out that makes sense; what is left is its own
//! arithmetic, which waits for a watchdog all the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdfast_lab::trial::Cluster;
use holdfast_lab::{LabError, Progress, Result, clock, wait_until};

use super::Figure;
use super::runs::Plan;

/// In seconds; 10 by default.
const IO_TIMEOUT_S: u32 = 2;
/// Joining a lockspace takes 21 s.
const JOIN: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_secs(20);
/// A takeover takes over a minute.
const PATIENCE: Duration = Duration::from_secs(400);
const LOCKSPACE: &str = "/srv/holdfast/peer.lockspace";
const RESOURCE: &str = "peers:vm:/srv/holdfast/peer.resource:0";

pub(super) fn takeover(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    if !installed() {
        return Err(LabError::Refused(
            "sanlock is not installed: `apt-get install sanlock`".into(),
        ));
    }
    let mut all = Vec::new();
    for run in 1..=plan.runs {
        let name = format!("run {run} of {}", plan.runs);
        all.push(progress.step(&name, || plan.in_lab(progress, one))?);
    }
    let name = format!("sanlock, I/O time-out {IO_TIMEOUT_S} s: power-off to lease taken");
    Ok(vec![Figure::of(&name, all)])
}

fn installed() -> bool {
    let asked = Command::new("sanlock").arg("version").output();
    asked.is_ok()
}

/// a1 holds a lease and loses its power; b1 asks for it until it gets it.
fn one(cluster: &Cluster) -> Result<u64> {
    let stub = limits_stub(cluster.lab.state().root())?;
    let sh = |host: &str, script: &str, limit: Duration| {
        let out = cluster.lab.exec(host, &["sh", "-ec", script], limit)?;
        out.ok(script).map(drop)
    };
    let file = RESOURCE.split(':').nth(2).unwrap_or_default();
    let make = format!(
        "truncate -s 1M {LOCKSPACE} {file}; sanlock direct init -s peers:0:{LOCKSPACE}:0; \
         sanlock direct init -r {RESOURCE}"
    );
    sh("a1", &make, SHORT)?;
    for (number, host) in [(1, "a1"), (2, "b1")] {
        let preload = stub
            .as_ref()
            .map(|stub| format!("LD_PRELOAD={} ", stub.display()));
        let script = format!(
            "mkdir -p /run/sanlock; {}sanlock daemon -w 0 -U root -G root -l 0 -e {host}",
            preload.unwrap_or_default()
        );
        sh(host, &script, SHORT)?;
        let join = format!(
            "sanlock client add_lockspace -s peers:{number}:{LOCKSPACE}:0 -o {IO_TIMEOUT_S}"
        );
        sh(host, &join, JOIN)?;
    }
    let hold = format!(
        "setsid sanlock client command -r {RESOURCE} -c /bin/sleep 100000 \
         </dev/null >/dev/null 2>&1 &"
    );
    sh("a1", &hold, SHORT)?;
    let take = [
        "sanlock",
        "client",
        "command",
        "-r",
        RESOURCE,
        "-c",
        "/bin/true",
    ];
    let taken = || -> std::result::Result<bool, String> {
        let out = cluster.lab.exec("b1", &take, SHORT);
        out.map(|out| out.status.success())
            .map_err(|error| error.to_string())
    };
    wait_until("a1 to hold the lease", JOIN, "", || {
        let status = ["sanlock", "client", "status"];
        let said = cluster.lab.exec("a1", &status, SHORT);
        let said = said.map_err(|error| error.to_string())?.stdout;
        match said.lines().any(|line| line.starts_with("r peers:vm:")) {
            true => Ok(()),
            false => Err(said),
        }
    })?;
    if taken().map_err(LabError::Refused)? {
        let text = "b1 took the lease that a1 holds: the measurement would prove nothing";
        return Err(LabError::Refused(text.into()));
    }
    let off = cluster.lab.power_off(&["a1"])?;
    wait_until("b1 to get the lease", PATIENCE, "", || match taken()? {
        true => Ok(clock::now_ms().saturating_sub(off.at_ms)),
        false => Err("it is refused".to_owned()),
    })
}

/// sanlock does not start where it may not raise the limit of locked memory, which it does not need here:
/// in a container. A library that takes the call away, then.
fn limits_stub(dir: &Path) -> Result<Option<PathBuf>> {
    let may = Command::new("prlimit")
        .args(["--memlock=unlimited:unlimited", "true"])
        .output()
        .is_ok_and(|out| out.status.success());
    if may {
        return Ok(None);
    }
    let source = dir.join("limits.c");
    let text = "int setrlimit(int resource, const void *limit) \
                { (void)resource; (void)limit; return 0; }\n";
    std::fs::write(&source, text).map_err(LabError::io("write", &source))?;
    let library = dir.join("limits.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .map_err(LabError::io("start", "cc"))?;
    if !built.status.success() {
        return Err(LabError::Command {
            command: "cc".into(),
            status: built.status.to_string(),
            stderr: String::from_utf8_lossy(&built.stderr).into_owned(),
        });
    }
    Ok(Some(library))
}
