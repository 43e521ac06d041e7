//! For how long VMs were away whose host, or site, lost its power. In virtual time: it shows what the
//! protocol waits for and what queues up, not how long a machine computes (of that, only what a leader takes
//! to plan is in it, as an estimate).

use crate::sim::truth::{Span, Truth};

/// For each VM that stopped running at that very instant: until it ran again, in milliseconds. In order.
pub fn since(truth: &Truth, off_ms: u64) -> Vec<u64> {
    let of = |spans: &Vec<Span>| {
        spans.iter().find(|span| span.to == Some(off_ms))?;
        let anew = spans.iter().filter(|span| span.from > off_ms);
        anew.map(|span| span.from - off_ms).min()
    };
    let mut away: Vec<u64> = truth.spans.values().filter_map(of).collect();
    away.sort_unstable();
    away
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::id::Generation;

    fn span(from: u64, to: Option<u64>) -> Span {
        Span {
            host: "h".parse().expect("a name"),
            incarnation: None,
            domain: from,
            generation: Generation(1),
            from,
            to,
            cold: true,
        }
    }

    #[test]
    fn only_what_stopped_then_and_until_it_ran_first() {
        let mut truth = Truth::default();
        let spans = [
            (
                "lost",
                vec![
                    span(0, Some(500)),
                    span(6_000, Some(7_000)),
                    span(8_000, None),
                ],
            ),
            ("elsewhere", vec![span(0, None)]),
            ("stopped-before", vec![span(0, Some(400)), span(900, None)]),
            ("soonest", vec![span(10, Some(500)), span(5_500, None)]),
        ];
        for (vm, spans) in spans {
            truth.spans.insert(vm.parse().expect("a name"), spans);
        }
        assert_eq!(since(&truth, 500), [5_000, 5_500]);
    }
}
