use super::read::{Noul, question};
use super::*;

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_yes_is_the_label_that_the_question_names_and_never_a_guess() {
    let asked = |instructions: &str, criteria: [&str; 2], names: &[&str]| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let [yes_is, no_is] = criteria.map(some);
        let noul = Noul { instructions: some(instructions), yes: yes_is, no: no_is };
        yes(&noul, &labels(names)).ok().map(str::to_owned)
    };
    let (tickets, signs, words) =
        (&["billing", "technical"], &["negative", "positive"], &["no", "yes"]);
    for (instructions, criteria, names, expected) in [
        ("", ["billing", ""], tickets, Some("billing")),
        ("", ["", "billing"], tickets, Some("technical")),
        ("", ["technical", "billing"], tickets, Some("technical")),
        ("", ["billing", "billing"], tickets, None),
        ("Is it about billing?", ["", ""], tickets, None),
        ("It isn’t billing.", ["", ""], tickets, None),
        ("Is it a non-billing question?", ["billing", ""], tickets, Some("billing")),
        ("Is it urgent?", ["An invoice", ""], tickets, None),
        ("Is it good?", ["", ""], signs, None),
        ("Is the review positive?", ["", ""], signs, None),
        ("", ["", ""], signs, Some("positive")),
        ("Is it spam, yes or no?", ["", ""], words, Some("yes")),
        ("", ["no", ""], words, Some("no")),
        ("", ["Negative", "Positive"], signs, None),
        ("", ["the customer is unhappy", ""], signs, None),
        ("", ["", "prose"], words, None),
    ] {
        let found = asked(instructions, criteria, names);
        assert_eq!(found.as_deref(), expected, "{instructions} {criteria:?} {names:?}");
    }
    assert_eq!(asked("", ["", ""], &["Positive", "Negative"]).as_deref(), Some("Positive"));
    assert_eq!(asked("", ["a", ""], &["a", "b", "c"]), None);
}

#[test]
fn some_labels_share_the_probability_of_all_and_confidence_follows_the_protocol() {
    assert_eq!(renormalised(&[0.2, 0.6]), [0.25, 0.749_999_999_999_999_9]);
    assert_eq!(renormalised(&[0.0, 0.0]), [0.5, 0.5]);
    // Examples of the protocol's reference, which prints probabilities and confidence to two digits.
    for (largest, confidence) in [(0.85, 0.78), (0.88, 0.81)] {
        assert!((peaked(largest, 3) - confidence).abs() < 0.0126, "{largest}");
    }
    assert_eq!((peaked(1.0, 1), peaked(0.25, 4), peaked(1.0, 4)), (1.0, 0.0, 1.0));
}

#[test]
fn a_question_is_read_strictly() {
    let wrong = |value: Value| question(value).err().map(|(part, ..)| part);
    for (value, part) in [
        (json!("choice"), "type"),
        (json!({ "criteria": { "a": null } }), "type"),
        (json!({ "type": "score", "criteria": ["low", "high"] }), "type"),
        (json!({ "type": "choice" }), "criteria"),
        (json!({ "type": "choice", "criteria": {} }), "criteria"),
        (json!({ "type": "choice", "criteria": ["a"] }), "criteria"),
        (json!({ "type": "choice", "criteria": { "a": 1 } }), "criteria"),
        (json!({ "type": "choice", "criteria": { "a": null }, "color": 1 }), "type"),
        (json!({ "type": "noul", "instructions": 7 }), "instructions"),
        (json!({ "type": "noul", "criteria": { "maybe": null } }), "criteria"),
    ] {
        assert_eq!(wrong(value.clone()), Some(part), "{value}");
    }
    for value in [
        json!({ "type": "choice", "criteria": { "a": { "label": "x" }, "b": null } }),
        json!({ "type": "noul", "instructions": ["Which?", "Pick."], "criteria": null }),
    ] {
        assert_eq!(wrong(value.clone()), None, "{value}");
    }
}
