//! What a guest gave, as the planner can use it; or why it makes no sense.

use super::v0_1;
use super::v0_2::Judgement;
use super::versions::Given;
use crate::error::{CallError, Nonsense};
use crate::words::one_line;
use holdfast_model::advice::{Question, Said, Score};

/// What the planner can use of it.
pub(super) fn judged(given: Given, question: &Question) -> Result<Said, CallError> {
    match given {
        Given::V0_1(given) => of_each(given, question),
        Given::V0_2(Ok(judgement)) => of_all(judgement, question),
        Given::V0_2(Err(words)) => Err(refused(words)),
    }
}

fn refused(words: String) -> CallError {
    CallError::Refused(one_line(&words))
}

/// 0.1: a verdict for each candidate, and a score.
fn of_each(given: v0_1::Given, question: &Question) -> Result<Said, CallError> {
    let mut said = (Vec::new(), Vec::new());
    if let Some(refusals) = given.refusals {
        said.0 = refusals.map_err(refused)?;
        counted("verdicts", said.0.len(), question)?;
    }
    if let Some(scores) = given.scores {
        said.1 = scored(&scores.map_err(refused)?, question)?;
    }
    Ok(Said::Answer {
        refusals: said.0,
        scores: said.1,
    })
}

/// 0.2: those that are refused, by their positions.
fn of_all(judgement: Judgement, question: &Question) -> Result<Said, CallError> {
    let scores = match judgement.scores.is_empty() {
        true => Vec::new(),
        false => scored(&judgement.scores, question)?,
    };
    let mut refusals = match judgement.refused.is_empty() {
        true => Vec::new(),
        false => vec![None; question.candidates.len()],
    };
    for refusal in judgement.refused {
        let (position, candidates) = (refusal.candidate, question.candidates.len());
        let Some(place) = refusals.get_mut(position as usize) else {
            return Err(CallError::Nonsense(Nonsense::Position {
                position,
                candidates,
            }));
        };
        if place.replace(one_line(&refusal.why)).is_some() {
            let host = question.candidates[position as usize].host.clone();
            return Err(CallError::Nonsense(Nonsense::Twice { host }));
        }
    }
    Ok(Said::Answer { refusals, scores })
}

fn counted(what: &'static str, found: usize, question: &Question) -> Result<(), CallError> {
    let wanted = question.candidates.len();
    if found != wanted {
        return Err(CallError::Nonsense(Nonsense::Count {
            what,
            found,
            candidates: wanted,
        }));
    }
    Ok(())
}

fn scored(found: &[f64], question: &Question) -> Result<Vec<Score>, CallError> {
    counted("scores", found.len(), question)?;
    // With room for all from the begin: as iterators of results are collected, it would grow step by step.
    let mut scores = Vec::with_capacity(found.len());
    for (score, candidate) in found.iter().zip(&question.candidates) {
        let Some(score) = Score::new(*score) else {
            return Err(CallError::Nonsense(Nonsense::Score {
                score: score.to_string(),
                host: candidate.host.clone(),
            }));
        };
        scores.push(score);
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::super::v0_2::Refusal;
    use super::*;
    use crate::conformance::made_up;

    fn said(refused: &[(u32, &str)], scores: &[f64]) -> Result<Said, CallError> {
        let refused = refused.iter().map(|(candidate, why)| Refusal {
            candidate: *candidate,
            why: (*why).to_owned(),
        });
        let judgement = Judgement {
            refused: refused.collect(),
            scores: scores.to_vec(),
        };
        judged(Given::V0_2(Ok(judgement)), &made_up(3))
    }

    #[test]
    fn what_is_refused_stands_at_its_position() {
        let scores = [1.5, 0.0, 100.0];
        let wanted = Said::Answer {
            refusals: vec![
                Some("full".to_owned()),
                None,
                Some("it says no and not why".to_owned()),
            ],
            scores: scores
                .map(|score| Score::new(score).expect("a score"))
                .into(),
        };
        assert_eq!(said(&[(2, " \n"), (0, "full")], &scores), Ok(wanted));
        let nothing = Said::Answer {
            refusals: Vec::new(),
            scores: Vec::new(),
        };
        assert_eq!(said(&[], &[]), Ok(nothing));
        let long = said(&[(0, &"x".repeat(1 << 20))], &[]);
        let Ok(Said::Answer { refusals, .. }) = long else {
            panic!("{long:?}");
        };
        let words = refusals[0].as_ref().expect("refused");
        assert!(words.len() < 1_000, "{}", words.len());
    }

    #[test]
    fn nonsense_is_told_in_a_sentence() {
        for (refused, scores, says) in [
            (
                &[(3, "no")][..],
                &[][..],
                "it refuses candidate 3, counted from 0, of 3",
            ),
            (&[(u32::MAX, "no")], &[], "it refuses candidate 4294967295"),
            (
                &[(1, "no"), (0, "no"), (1, "yes")],
                &[],
                "it refuses h00001 twice",
            ),
            (&[], &[1.0, 2.0], "2 scores for 3 candidates"),
            (
                &[],
                &[1.0, 2.0, f64::NAN],
                "NaN for h00002 is not from 0 to 100",
            ),
            (&[], &[1.0, -0.5, 2.0], "-0.5 for h00001 is not"),
            (&[], &[f64::INFINITY, 1.0, 2.0], "inf for h00000 is not"),
        ] {
            let error = said(refused, scores).expect_err(says);
            assert!(matches!(error, CallError::Nonsense(_)), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        let own = judged(Given::V0_2(Err("no idea".to_owned())), &made_up(3));
        assert_eq!(own, Err(CallError::Refused("no idea".to_owned())));
    }
}
