//! Placeholders: `{{name}}`, each replaced by a part of the card.

use super::super::PublishError;
use crate::suggest::nearest;

/// The card that is written when nobody gives a template.
pub const USUAL: &str = include_str!("template.md");

/// The names of the placeholders in a text, in their order.
fn names(template: &str) -> Vec<&str> {
    let after = template.split("{{").skip(1);
    after.filter_map(|rest| Some(rest.split_once("}}")?.0.trim())).collect()
}

/// Fills a template. `value` gives the text of a placeholder, or `None` for one that does not exist.
///
/// # Errors
/// The template asks for a placeholder that does not exist.
pub fn fill(
    template: &str,
    known: &[&str],
    value: &dyn Fn(&str) -> Option<String>,
) -> Result<String, PublishError> {
    let mut filled = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else { break };
        let name = name.trim();
        let Some(text) = value(name) else { return Err(unknown(name, known)) };
        filled.push_str(before);
        filled.push_str(text.trim_end_matches('\n'));
        rest = behind;
    }
    filled.push_str(rest);
    Ok(tidy(&filled))
}

/// Whether a template has this placeholder.
pub fn has(template: &str, name: &str) -> bool {
    names(template).contains(&name)
}

fn unknown(name: &str, known: &[&str]) -> PublishError {
    let near = nearest(name, known);
    PublishError::Placeholder {
        name: name.to_owned(),
        suggestion: near.map_or(String::new(), |one| format!(" did you mean `{{{{{one}}}}}`?")),
        known: known.join(", "),
    }
}

/// No more than one empty line in a row, and one line break at the end.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        empty = if line.trim().is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    tidy.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        (name == "title").then(|| "T {{x}}".to_owned())
    }

    #[test]
    fn placeholders_are_filled_once_and_unknown_ones_are_refused_by_name() {
        let filled = fill("# {{ title }}\n\n\n\n{not one} {{title}}", &["title"], &value).unwrap();
        assert_eq!(filled, "# T {{x}}\n\n{not one} T {{x}}\n");
        let message = fill("{{titel}}", &["title"], &value).unwrap_err().to_string();
        assert!(message.contains("`{{titel}}`") && message.contains("`{{title}}`?"), "{message}");
        assert!(fill("{{open", &["title"], &value).unwrap().contains("{{open"));
        assert!(has("a {{ b }} c", "b") && !has("a {{ b }} c", "c"));
    }
}
