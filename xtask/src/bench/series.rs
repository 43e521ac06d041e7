//! Failovers one after the other in one lab. A long series does not lose what it has to one run that does not come to its
//! end: each is told as soon as it is measured, and what is there when one fails counts.

use holdfast_lab::trial::{Cluster, Failover};
use holdfast_lab::{LabError, Progress, Result};

use super::Measured;
use super::runs::{failover_figures, tell_status};

/// So often a wait for the cluster to heal is begun again before it is given up. A late one says nothing about the
/// failover before it.
const WAITS: usize = 4;

/// Failovers of one kind.
#[derive(Default)]
pub(super) struct Series {
    pub done: Vec<Failover>,
    /// Why there are no more.
    pub broken: Option<LabError>,
}

impl Series {
    /// So many of them: something is lost, and then comes home.
    pub(super) fn of(
        runs: usize,
        progress: &Progress,
        name: &str,
        mut lose: impl FnMut() -> Result<Failover>,
        mut home: impl FnMut() -> Result<()>,
    ) -> Self {
        let mut series = Self::default();
        for run in 1..=runs {
            let step = format!("{name}, run {run} of {runs}");
            let ended = progress.step(&step, &mut lose).and_then(|failover| {
                progress.line(&told(name, run, &failover));
                series.done.push(failover);
                progress.step(&format!("{step}: home again"), &mut home)
            });
            if let Err(error) = ended {
                series.broken = Some(error);
                break;
            }
        }
        series
    }

    /// More of the same.
    pub(super) fn extend(&mut self, more: Self) {
        self.done.extend(more.done);
        self.broken = self.broken.take().or(more.broken);
    }
}

impl Measured {
    /// Takes in a series. False: it was cut short, and the cluster is not what the next one needs.
    pub(super) fn take(
        &mut self,
        name: &str,
        series: Series,
        cluster: &Cluster,
        progress: &Progress,
    ) -> bool {
        if !series.done.is_empty() {
            self.figures.extend(failover_figures(name, &series.done));
        }
        let Some(error) = series.broken else {
            return true;
        };
        progress.line(&format!(
            "{name}: no more after {} runs: {}",
            series.done.len(),
            error.chain()
        ));
        tell_status(cluster.lab, progress);
        self.cut_short.get_or_insert(error);
        false
    }
}

/// One failover in a line of JSON, in milliseconds from the power-off.
fn told(name: &str, run: usize, failover: &Failover) -> String {
    let (first, median, last) = failover.rto_ms();
    serde_json::json!({
        "series": name,
        "run": run,
        "noticed_ms": failover.detected_ms,
        "proven_stopped_ms": failover.proven_ms,
        "first_guest_sign_ms": { "first_vm": first, "median_vm": median, "last_vm": last },
    })
    .to_string()
}

/// Waits for something to heal, and once more if that is late; not after any other error.
pub(super) fn healed(
    progress: &Progress,
    what: &str,
    mut wait: impl FnMut() -> Result<()>,
) -> Result<()> {
    for left in (1..WAITS).rev() {
        match wait() {
            Err(error @ LabError::TimedOut { .. }) => progress.line(&format!(
                "{what} is late, and is waited for again, {left} times more at the most: {error}"
            )),
            ended => return ended,
        }
    }
    wait()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn late() -> LabError {
        LabError::TimedOut {
            what: "storage in sync".to_owned(),
            waited: Duration::from_secs(180),
            last: "1 entry".to_owned(),
            hint: String::new(),
        }
    }

    fn failover() -> Failover {
        Failover {
            machines: vec!["a1".to_owned()],
            power_off_at: 1,
            power_off_unix: 2,
            gone_ms: 3,
            detected_ms: Some(400),
            proven_ms: Some(2_000),
            vms: Default::default(),
        }
    }

    #[test]
    fn what_heals_late_is_waited_for_again_and_not_for_ever() {
        for (late_ones, waits, heals) in [(0, 1, true), (3, 4, true), (4, 4, false)] {
            let mut waited = 0;
            let ended = healed(&Progress::silent(), "a copy", || {
                waited += 1;
                match waited <= late_ones {
                    true => Err(late()),
                    false => Ok(()),
                }
            });
            assert_eq!((waited, ended.is_ok()), (waits, heals), "{late_ones}");
        }
        let mut waited = 0;
        let ended = healed(&Progress::silent(), "a copy", || {
            waited += 1;
            Err(LabError::Interrupted)
        });
        assert!(matches!(ended, Err(LabError::Interrupted)) && waited == 1);
    }

    #[test]
    fn a_series_that_breaks_has_what_was_measured_before() {
        let mut homes = 0;
        let progress = Progress::silent();
        let series = Series::of(
            30,
            &progress,
            "leases only",
            || Ok(failover()),
            || {
                homes += 1;
                match homes {
                    26 => Err(late()),
                    _ => Ok(()),
                }
            },
        );
        assert_eq!(series.done.len(), 26, "the last one was measured as well");
        assert!(matches!(series.broken, Some(LabError::TimedOut { .. })));
        let mut all = Series::of(2, &progress, "leases only", || Ok(failover()), || Ok(()));
        all.extend(series);
        assert!(all.done.len() == 28 && all.broken.is_some());
        let words = told("leases only", 3, &failover());
        let parsed: serde_json::Value = serde_json::from_str(&words).expect("one line of JSON");
        assert_eq!(
            (parsed["run"].as_u64(), parsed["noticed_ms"].as_u64()),
            (Some(3), Some(400))
        );
    }
}
