//! Which answers are accepted, what that promises, and how it was kept.

use super::words::percent;
use crate::calibrate::{CalibrationSummary, Limits};
use crate::data::sentence;
use crate::evaluate::{Answer, Decided};
use crate::numbers::grouped;

/// The same as a sentence, with the share of the held-out rows; `None` where nothing is decided.
pub fn decision_sentence(summary: &CalibrationSummary, rows: &[Answer]) -> Option<String> {
    let limits = summary.limits.as_ref()?;
    let share = summary.accepted.filter(|_| limits.min_confidence.is_some());
    let share = share.map_or(String::new(), |share| {
        let rows = grouped(summary.rows as u64);
        format!(" ({:.0} % of {rows} held-out rows have it)", 100.0 * share)
    });
    Some(sentence(&words(summary, limits, &share, rows)?))
}

/// What is accepted, for the screen.
pub fn decisions(summary: &CalibrationSummary, rows: &[Answer]) -> Option<String> {
    match &summary.limits {
        Some(limits) => words(summary, limits, "", rows),
        None => Some(format!("none: {}", unproved(summary)?)),
    }
}

fn words(
    summary: &CalibrationSummary,
    limits: &Limits,
    share: &str,
    rows: &[Answer],
) -> Option<String> {
    if *limits == Limits::default() && summary.target_risk.is_none() {
        return None;
    }
    let accepted = limits
        .min_confidence
        .map_or("the confidence of a prediction is no reason to abstain".to_owned(), |least| {
            format!("predictions with confidence {least:.4} or more{share} are accepted")
        });
    let reason = match (summary.target_risk, unproved(summary)) {
        (Some(risk), _) => format!(
            "; held-out rows prove (with 95 % certainty) that at most {} % of them are wrong{}",
            percent(risk),
            strictest(summary)
        ),
        (None, Some(unproved)) => {
            format!("; {unproved}, so the limits that you set stay in effect")
        }
        (None, None) => String::new(),
    };
    Some(format!("{accepted}{reason}{}", kept(limits, rows)))
}

/// What the rows do not prove; `None` where no share was asked for.
fn unproved(summary: &CalibrationSummary) -> Option<String> {
    let risk = percent(*summary.target_risks.last()?);
    let least =
        summary.min_confidence.map_or(String::new(), |least| format!(" of at least {least}"));
    let rows = match summary.rows {
        0 => return Some("no rows are held out for calibration".to_owned()),
        rows => grouped(rows as u64),
    };
    Some(format!(
        "the {rows} held-out rows cannot prove, for any confidence threshold{least}, that at most \
         {risk} % of the predictions above it are wrong"
    ))
}

/// Of which levels the one that was taken is the strictest.
fn strictest(summary: &CalibrationSummary) -> String {
    let asked: Vec<String> =
        summary.target_risks.iter().map(|&risk| percent(risk).to_string()).collect();
    match asked.as_slice() {
        [] | [_] => String::new(),
        several => {
            format!(", the strictest of the limits {} % that they can prove", listed(several))
        }
    }
}

/// `1, 2 and 5`.
fn listed(several: &[String]) -> String {
    match several.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => several.concat(),
    }
}

/// The share of the test answers that all limits accept, and how much of that is wrong.
fn kept(limits: &Limits, rows: &[Answer]) -> String {
    let others = others(limits);
    let Some(Decided { accepted, error, .. }) = Decided::new(limits, None, rows) else {
        return if others.is_empty() { others } else { format!("; {others} must also be met") };
    };
    let with = if others.is_empty() { others } else { format!(", with {others} also applied,") };
    let Some(error) = error else {
        return format!("; on the test rows{with} none is accepted");
    };
    format!(
        "; on the test rows{with} {:.0} % are accepted, and {:.1} % of those are wrong",
        100.0 * accepted,
        100.0 * error
    )
}

/// The limits beside the confidence, by their keys.
fn others(limits: &Limits) -> String {
    let Limits { min_confidence: _, max_epistemic, ood_p, max_set_size } = limits;
    let others = [
        max_epistemic.map(|most| format!("`max_epistemic` = {most}")),
        ood_p.map(|p| format!("`ood_p` = {p}")),
        max_set_size.map(|most| format!("`max_set_size` = {most}")),
    ];
    others.into_iter().flatten().collect::<Vec<String>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Novelty, Truth};

    fn summary(limits: Option<Limits>, target_risk: Option<f64>) -> CalibrationSummary {
        CalibrationSummary {
            rows: 360,
            sets: Vec::new(),
            limits,
            min_confidence: limits.and_then(|limits| limits.min_confidence),
            accepted: limits.map(|_| 0.5),
            target_risk,
            target_risks: vec![0.1, 0.2],
            crossed: None,
            notes: Vec::new(),
        }
    }

    /// A row of class 0, answered with this probability of it.
    fn row(right: f64, p_value: f64, set: &[u32]) -> Answer {
        Answer {
            truth: Truth::Label { label: 0, probability_c: None, seen: false },
            row: 0,
            predicted: usize::from(right < 0.5),
            probability_c: vec![right, 1.0 - right],
            logit_c: vec![0.0, 0.0],
            total: 0.1,
            aleatoric: None,
            epistemic: None,
            set: Some(set.to_vec()),
            novelty: Some(Novelty { score: 1.0, p_value }),
            truncated: false,
            question: None,
        }
    }

    #[test]
    fn the_figures_are_of_the_answers_that_meet_all_limits() {
        let rows = [
            row(0.97, 0.5, &[0]),
            row(0.03, 0.5, &[1]),
            row(0.03, 0.01, &[1]),
            row(0.03, 0.5, &[0, 1]),
            row(0.6, 0.5, &[0]),
        ];
        let sure = Limits { min_confidence: Some(0.9), ..Limits::default() };
        let all = Limits { ood_p: Some(0.01), max_set_size: Some(1), ..sure };
        for (limits, figures) in [
            (sure, "; on the test rows 80 % are accepted, and 75.0 % of those are wrong"),
            (
                all,
                "; on the test rows, with `ood_p` = 0.01 and `max_set_size` = 1 also applied, 40 % \
                 are accepted, and 50.0 % of those are wrong",
            ),
        ] {
            let summary = summary(Some(limits), Some(0.1));
            let screen = decisions(&summary, &rows).unwrap();
            assert!(screen.ends_with(figures), "{screen}");
            let report = decision_sentence(&summary, &rows).unwrap();
            assert!(report.ends_with(&format!("{figures}.")), "{report}");
            assert!(
                report.starts_with("Predictions with confidence 0.9000 or more (50 % of"),
                "{report}"
            );
        }
        let none = decisions(&summary(Some(all), Some(0.1)), &rows[4..]).unwrap();
        assert!(none.ends_with("also applied, none is accepted"), "{none}");
        let untested = decisions(&summary(Some(all), Some(0.1)), &[]).unwrap();
        assert!(untested.ends_with("`max_set_size` = 1 must also be met"), "{untested}");
    }

    #[test]
    fn a_limit_that_stays_is_told_from_no_decision() {
        let limits = Limits { min_confidence: Some(0.95), ..Limits::default() };
        let stays = decisions(&summary(Some(limits), None), &[]).unwrap();
        assert_eq!(
            stays,
            "predictions with confidence 0.9500 or more are accepted; the 360 held-out rows cannot \
             prove, for any confidence threshold of at least 0.95, that at most 20 % of the \
             predictions above it are wrong, so the limits that you set stay in effect"
        );
        let nothing = summary(None, None);
        let none = decisions(&nothing, &[]).unwrap();
        assert!(none.starts_with("none: the 360 held-out rows cannot prove, for any"), "{none}");
        assert_eq!(decision_sentence(&nothing, &[]), None);
    }
}
