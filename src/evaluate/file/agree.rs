//! Numbers of one answer that follow from others of it, and bounds that hold for all answers of a model.

use super::FileError;
use super::read::Cells;
use crate::calibrate::conformal::ConformalMethod;
use crate::evaluate::{Answer, Answers, Link, Truth};
use crate::metrics::entropy;
use crate::posterior::softmax;

/// What other programs lose of a number when they write it.
const ROUNDING: f64 = 1e-5;

/// Refuses an answer whose numbers cannot all be those of one prediction.
pub(super) fn check(model: &Answers, answer: &Answer, cells: &Cells<'_>) -> Result<(), FileError> {
    let faults = [
        uncertainty(model, answer),
        logits(model, answer),
        set(model, answer),
        beside(model, answer, cells),
    ];
    match faults.into_iter().flatten().next() {
        Some(fault) => Err(cells.contradiction(fault)),
        None => Ok(()),
    }
}

fn differ(one: f64, other: f64) -> bool {
    (one - other).abs() > ROUNDING
}

fn uncertainty(model: &Answers, answer: &Answer) -> Option<String> {
    let total = answer.total;
    let most = model.task.largest_uncertainty(model.labels.len());
    if !(-ROUNDING..=most + ROUNDING).contains(&total) {
        let classes = model.labels.len();
        return Some(format!(
            "`total` is {total}, but the entropy of {classes} classes is from 0 to {most}"
        ));
    }
    let own = entropy(&answer.probability_c);
    if model.link.is_some_and(|link| link != Link::MeanField) && differ(total, own) {
        return Some(format!("`total` is {total}, but the entropy of its probabilities is {own}"));
    }
    let parts = match (answer.aleatoric, answer.epistemic) {
        (None, None) => None,
        (Some(aleatoric), Some(epistemic)) => Some((aleatoric, epistemic)),
        _ => {
            return Some(
                "one of `aleatoric` and `epistemic` is empty, but the other is not".to_owned(),
            );
        }
    };
    let knows = model.link.map(|link| matches!(link, Link::Mean | Link::MeanField));
    if let Some(knows) = knows.filter(|&knows| knows != parts.is_some()) {
        let link = model.link.map_or("", Link::name);
        let are = if knows { "empty" } else { "not empty" };
        return Some(format!("`aleatoric` and `epistemic` are {are}, but `link` is `{link}`"));
    }
    let (aleatoric, epistemic) = parts?;
    for (name, part) in [("aleatoric", aleatoric), ("epistemic", epistemic)] {
        if part < -ROUNDING {
            return Some(format!("`{name}` is {part}, but no entropy is below 0"));
        }
    }
    let sum = aleatoric + epistemic;
    differ(sum, total).then(|| {
        format!(
            "`aleatoric` {aleatoric} and `epistemic` {epistemic} add up to {sum}, but `total` is \
             {total}"
        )
    })
}

fn logits(model: &Answers, answer: &Answer) -> Option<String> {
    if model.link != Some(Link::Softmax) {
        return None;
    }
    let temperature = model.temperature;
    let expected_c = softmax(&answer.logit_c, temperature);
    let mut classes = model.labels.iter().zip(&answer.probability_c).zip(&expected_c);
    let ((label, found), expected) = classes.find(|((_, p), expected)| differ(**p, **expected))?;
    Some(format!(
        "`p.{label}` is {found}, but the logits and the temperature {temperature} give {expected}"
    ))
}

fn set(model: &Answers, answer: &Answer) -> Option<String> {
    let given = [("alpha", model.alpha.is_some()), ("set", answer.set.is_some())];
    let [(one, is_one), (other, is_other)] = given;
    if is_one != is_other {
        let (empty, full) = if is_one { (other, one) } else { (one, other) };
        return Some(format!("`{empty}` is empty, but `{full}` is not"));
    }
    let set = answer.set.as_ref()?;
    let label = |class: u32| &model.labels[class as usize];
    let p = |class: u32| answer.probability_c[class as usize];
    if let Some(pair) = set.windows(2).find(|pair| p(pair[1]) > p(pair[0]) + ROUNDING) {
        let [first, second] = [pair[0], pair[1]];
        return Some(format!(
            "`set` has `{}` (p = {}) before `{}` (p = {}), but the most probable class must be \
             first",
            label(first),
            p(first),
            label(second),
            p(second)
        ));
    }
    // These sets are as long as it takes, from the most probable class on.
    let grows = matches!(model.set_method, Some(ConformalMethod::Aps | ConformalMethod::Raps));
    let least = set.last().copied().filter(|_| grows)?;
    let left_out = (0..model.labels.len() as u32)
        .find(|class| !set.contains(class) && p(*class) > p(least) + ROUNDING)?;
    Some(format!(
        "`set` has `{}` (p = {}), but not `{}`, which is more probable (p = {})",
        label(least),
        p(least),
        label(left_out),
        p(left_out)
    ))
}

/// Columns that are filled together, or not at all.
fn beside(model: &Answers, answer: &Answer, cells: &Cells<'_>) -> Option<String> {
    let has = |column: &str| cells.optional_text(column).is_some();
    let truth = model.labels.iter().map(|label| format!("truth.{label}"));
    if let Truth::OutOfScope { source } = &answer.truth {
        let of_class = ["label", "seen"].map(str::to_owned).into_iter().chain(truth);
        let known = of_class.into_iter().find_map(|name| Some((cells.optional_text(&name)?, name)));
        if let Some((value, column)) = known {
            return Some(format!(
                "`ood` is `{source}`, so the text belongs to no class, but `{column}` is `{value}`"
            ));
        }
        return None;
    }
    let [score, p_value] = ["novelty", "novelty_p"];
    (has(score) != has(p_value)).then(|| {
        let (empty, full) = if has(score) { (p_value, score) } else { (score, p_value) };
        format!("`{empty}` is empty, but `{full}` is not")
    })
}

/// Where a class enters the sets of a model: from this probability on, whatever the text. So it is where a set
/// is made of all classes that reach a bound of their own, or one for all.
#[derive(Default)]
pub(super) struct Bounds {
    /// By class, or of all classes: the least probability in a set, and the greatest outside, with the line
    /// of each.
    inside: Vec<Option<(f64, u64)>>,
    outside: Vec<Option<(f64, u64)>>,
}

impl Bounds {
    /// Refuses a set that no bounds could have made beside those of earlier lines.
    pub(super) fn check(
        &mut self,
        model: &Answers,
        answer: &Answer,
        cells: &Cells<'_>,
    ) -> Result<(), FileError> {
        let by_class = match model.set_method {
            Some(ConformalMethod::Mondrian) => true,
            Some(ConformalMethod::Lac) => false,
            _ => return Ok(()),
        };
        let Some(set) = &answer.set else { return Ok(()) };
        self.inside.resize(model.labels.len(), None);
        self.outside.resize(model.labels.len(), None);
        for (class, &p) in answer.probability_c.iter().enumerate() {
            let at = if by_class { class } else { 0 };
            let is_in = set.contains(&(class as u32));
            let (own, other) = match is_in {
                true => (&mut self.inside[at], self.outside[at]),
                false => (&mut self.outside[at], self.inside[at]),
            };
            let nearer = |known: f64| if is_in { p < known } else { p > known };
            if own.is_none_or(|(known, _)| nearer(known)) {
                *own = Some((p, cells.line));
            }
            let Some((known, line)) = other else { continue };
            let beyond = if is_in { known - p } else { p - known };
            if beyond > ROUNDING {
                let (here, there) = match is_in {
                    true => ("has", "is in none"),
                    false => ("does not contain", "is in one"),
                };
                let of = if by_class { "the class" } else { "a class" };
                return Err(cells.contradiction(format!(
                    "`set` {here} `{}` (p = {p}), but with p = {known} {of} {there} in line {line}",
                    model.labels[class]
                )));
            }
        }
        Ok(())
    }
}
