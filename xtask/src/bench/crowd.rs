//! What twenty extensions, five of which do nothing right, do to a failover: beside none, in the same lab.

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
        let among = series(plan.runs, progress, what, || loses(cluster, &names))?;
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
