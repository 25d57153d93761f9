//! Which of two labels is the yes of a yes-or-no question.
//!
//! The model does not read the question. It is answered only where the question says which label it is about: a
//! guess that is wrong would answer the opposite, with confidence.

use super::read::Noul;

/// Labels that are an answer themselves: no, and yes.
const WORDS: [[&str; 2]; 4] =
    [["no", "yes"], ["false", "true"], ["0", "1"], ["label_0", "label_1"]];
/// Labels of which the second is the yes of a question without instructions.
const SIGNS: [[&str; 2]; 2] = [["negative", "positive"], ["neg", "pos"]];
/// The label of a yes, or what the question has to say:
///
/// 1. the label that `criteria` gives as `true`, or not as `false`;
/// 2. without criteria, of the labels `no` and `yes` and the like, the latter;
/// 3. `positive`, if there are no instructions either: those may ask for the other.
pub fn yes<'a>(noul: &Noul, labels: &'a [String]) -> Result<&'a str, String> {
    let [first, second] = labels else {
        let count = labels.len();
        return Err(format!("a model with {count} labels answers no `noul`; ask a `choice`"));
    };
    let unclear = || {
        format!(
            "say which label is the yes, as `{{\"true\": \"{first}\"}}` or `{{\"true\": \"{second}\"}}`: \
             the model does not read instructions"
        )
    };
    let is = |outcome: &Option<String>, label: &String| outcome.as_ref() == Some(label);
    let said = |label: &String, other: &String| is(&noul.yes, label) || is(&noul.no, other);
    match (said(first, second), said(second, first)) {
        (true, false) => return Ok(first),
        (false, true) => return Ok(second),
        (true, true) => return Err(unclear()),
        // Criteria that are no labels may mean either.
        (false, false) if noul.yes.is_some() || noul.no.is_some() => return Err(unclear()),
        (false, false) => {}
    }
    let second_of = |pairs: &[[&str; 2]]| {
        let fits = |no: &str, yes: &str| {
            pairs
                .iter()
                .any(|pair| pair[0].eq_ignore_ascii_case(no) && pair[1].eq_ignore_ascii_case(yes))
        };
        match (fits(first, second), fits(second, first)) {
            (true, _) => Some(second.as_str()),
            (_, true) => Some(first.as_str()),
            _ => None,
        }
    };
    if let Some(label) = second_of(&WORDS) {
        return Ok(label);
    }
    match noul.instructions.as_deref().unwrap_or_default() {
        "" => second_of(&SIGNS).ok_or_else(unclear),
        _ => Err(unclear()),
    }
}
