//! Random expansion of a context-free grammar that is written as flat tables.

use crate::compute::Stream;

/// A grammar: each symbol with what it may be replaced by. `{symbol}` inside a replacement is
/// replaced in turn. All replacements of a symbol are equally likely.
pub(super) type Rules = &'static [(&'static str, &'static [&'static str])];

/// `text` with every `{symbol}` replaced, left to right.
pub(super) fn expand(stream: &mut Stream, rules: Rules, text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, symbol, after)) = next_symbol(rest) {
        expanded.push_str(before);
        let (_, replacements) =
            rules.iter().find(|(name, _)| *name == symbol).expect("every symbol has a rule");
        let replacement = *stream.choose(replacements);
        expanded.push_str(&expand(stream, rules, replacement));
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

/// `text` with its first letter made a capital.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What stands before, in and after the first pair of braces.
fn next_symbol(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (symbol, after) = rest.split_once('}')?;
    Some((before, symbol, after))
}

/// Symbols that the rules or `texts` name and that have no rule.
#[cfg(test)]
pub(super) fn undefined_symbols(rules: Rules, texts: &[&'static str]) -> Vec<&'static str> {
    let replacements = rules.iter().flat_map(|(_, replacements)| replacements.iter());
    let mut missing = Vec::new();
    for text in replacements.chain(texts) {
        let mut rest = *text;
        while let Some((_, symbol, after)) = next_symbol(rest) {
            if rules.iter().all(|(name, _)| *name != symbol) {
                missing.push(symbol);
            }
            rest = after;
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    const RULES: Rules = &[("pet", &["{size} cat"]), ("size", &["small", "large"])];

    #[test]
    fn symbols_are_replaced_at_every_depth_and_each_replacement_occurs() {
        let mut stream = Noise::new(1).stream(Purpose::Generate, 0, 0);
        let texts: Vec<String> =
            (0..50).map(|_| expand(&mut stream, RULES, "a {pet} and a {pet}")).collect();
        let expected = ["small cat", "large cat"];
        for (left, right) in expected.iter().flat_map(|l| expected.map(|r| (*l, r))) {
            let text = format!("a {left} and a {right}");
            assert!(texts.contains(&text), "`{text}` never occurs");
        }
        assert!(texts.iter().all(|text| !text.contains(['{', '}'])));
    }

    #[test]
    fn a_symbol_without_a_rule_is_found() {
        assert_eq!(undefined_symbols(RULES, &["a {pet}"]), Vec::<&str>::new());
        assert_eq!(undefined_symbols(RULES, &["a {pet} and a {dog}"]), ["dog"]);
    }

    #[test]
    fn the_first_letter_becomes_a_capital_and_the_rest_stays() {
        assert_eq!(capitalised("it was Anna"), "It was Anna");
        assert_eq!(capitalised(""), "");
    }
}
