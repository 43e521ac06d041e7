//! What twenty extensions, five of which do nothing right, do to a failover: beside none, in the same lab. Then with two
//! more that do worse.

use std::time::Instant;

use holdfast_lab::trial::Cluster;
use holdfast_lab::{Progress, Result, crowd};

use super::detect::losses;
use super::runs::{Plan, gather, wishes};
use super::series::Series;
use super::{Figure, Measured};

const NONE: &str = "no extensions";
const CROWD: &str = "20 extensions, 5 of them bad";
const WORSE: &str = "these, a giant answer and a flood";

/// One host with VMs is lost, without them and with them.
pub(super) fn run(plan: &Plan, progress: &Progress) -> Result<Measured> {
    crate::extensions::count(progress)?;
    let count = plan.vms.unwrap_or(4);
    plan.in_lab(progress, |cluster| {
        let wishes = wishes(count, "a");
        let names: Vec<&str> = wishes.iter().map(|wish| wish.name.as_str()).collect();
        gather(cluster, &wishes)?;
        let mut measured = Measured::default();
        let lose = |runs, name: &str| losses(runs, cluster, progress, name, &names);
        if measured.take(NONE, lose(plan.runs, NONE), cluster, progress)
            && let Err(error) = among(plan, cluster, progress, &lose, &mut measured)
        {
            measured.cut_short.get_or_insert(error);
        }
        Ok(beside(measured))
    })
}

/// The same among extensions. What is measured counts, whatever comes then.
fn among(
    plan: &Plan,
    cluster: &Cluster,
    progress: &Progress,
    lose: &dyn Fn(usize, &str) -> Series,
    measured: &mut Measured,
) -> Result<()> {
    let mut installed =
        progress.step("20 extensions", || crowd::install(cluster, &crowd::CROWD))?;
    if !measured.take(CROWD, lose(plan.runs, CROWD), cluster, progress) {
        return Ok(());
    }
    crowd::disturbs_nothing(cluster, &installed)?;
    installed.extend(progress.step("2 more", || crowd::install(cluster, &crowd::WORSE))?);
    let begun = Instant::now();
    let mut all = Series::default();
    while all.broken.is_none() && (all.done.is_empty() || begun.elapsed() < plan.at_least) {
        let minutes = begun.elapsed().as_secs() / 60;
        all.extend(lose(1, &format!("{WORSE}, after {minutes} min")));
    }
    if !measured.take(WORSE, all, cluster, progress) {
        return Ok(());
    }
    crowd::disturbs_nothing(cluster, &installed)?;
    crowd::remove(cluster, &installed)
}

/// Each figure of them beside the same one without any.
fn beside(mut measured: Measured) -> Measured {
    let part = |figure: &Figure| {
        let (_, part) = figure.name.split_once(": ").unwrap_or_default();
        part.to_owned()
    };
    let is_base = |figure: &Figure| figure.name.starts_with(NONE);
    let base: Vec<(String, u64)> = (measured.figures.iter())
        .filter(|figure| is_base(figure))
        .map(|figure| (part(figure), figure.median))
        .collect();
    for figure in &mut measured.figures {
        let without = base.iter().find(|(name, _)| *name == part(figure));
        if let (false, Some((_, without))) = (is_base(figure), without) {
            let times = figure.median as f64 / (*without).max(1) as f64;
            figure.name = format!("{} ({times:.2} times)", figure.name);
        }
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_beside_those_without_any() {
        let figure = |what: &str, part: &str, ms| Figure::of(&format!("{what}: {part}"), vec![ms]);
        let told = beside(
            vec![
                figure(NONE, "noticed", 1_000),
                figure(NONE, "proven", 2_000),
                figure(CROWD, "noticed", 1_100),
                figure(CROWD, "proven", 2_000),
                figure(WORSE, "proven", 5_000),
            ]
            .into(),
        );
        let names: Vec<&str> = told.figures.iter().map(|each| each.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "no extensions: noticed".to_owned(),
                "no extensions: proven".to_owned(),
                format!("{CROWD}: noticed (1.10 times)"),
                format!("{CROWD}: proven (1.00 times)"),
                format!("{WORSE}: proven (2.50 times)"),
            ]
        );
    }
}
