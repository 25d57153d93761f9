//! Numbers and names as the card writes them.

use crate::metrics::Interval;

/// Four decimals; `∞` for what is not finite.
pub fn four(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "∞".to_owned() }
}

pub fn between(interval: &Interval) -> String {
    format!("{} – {}", four(interval.low), four(interval.high))
}

/// A share of some rows: `3.1 %`.
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// A share: `90 %`, `99.5 %`.
pub fn share(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// As code; a name may hold what Markdown would take for its own.
pub fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ").replace('`', "'").replace('|', "\\|");
    format!("`{text}`")
}

/// A line of a table.
pub fn line<const N: usize>(cells: [&str; N]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!((four(0.92084), four(f64::INFINITY)), ("0.9208".to_owned(), "∞".to_owned()));
        assert_eq!((share(0.9), share(0.995)), ("90 %".to_owned(), "99.5 %".to_owned()));
        assert_eq!(code("a|`b`"), "`a\\|'b'`");
        assert_eq!(line(["a", "b"]), "| a | b |\n");
    }
}
