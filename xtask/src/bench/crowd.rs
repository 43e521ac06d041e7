//! What twenty extensions, five of which do nothing right, do to a failover: beside none, in the same lab.

use std::time::Instant;

use holdfast_lab::{Progress, Result, crowd};

use super::Figure;
use super::detect::{loses, series};
use super::runs::{Plan, failover_figures, gather, wishes};

/// One host with VMs is lost, without them and with them.
pub(super) fn run(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    crate::extensions::count(progress)?;
    let count = plan.vms.unwrap_or(4);
    plan.in_lab(progress, |cluster| {
        let wishes = wishes(count, "a");
        let names: Vec<&str> = wishes.iter().map(|wish| wish.name.as_str()).collect();
        gather(cluster, &wishes)?;
        let alone = series(plan.runs, progress, "no extensions", || {
            loses(cluster, &names)
        })?;
        let crowd = progress.step("20 extensions", || crowd::install(cluster))?;
        let what = "20 extensions, 5 of them bad";
        let begun = Instant::now();
        let mut among = series(plan.runs, progress, what, || loses(cluster, &names))?;
        while begun.elapsed() < plan.at_least {
            let minutes = begun.elapsed().as_secs() / 60;
            let what = format!("{what}, after {minutes} min");
            among.extend(series(1, progress, &what, || loses(cluster, &names))?);
        }
        crowd::disturbs_nothing(cluster, &crowd)?;
        crowd::remove(cluster, &crowd)?;
        let base = failover_figures("none", &alone);
        let mut figures = failover_figures(what, &among);
        for (figure, base) in figures.iter_mut().zip(&base) {
            let times = figure.median as f64 / base.median.max(1) as f64;
            figure.name = format!("{} ({times:.2} times)", figure.name);
        }
        Ok([base, figures].concat())
    })
}
