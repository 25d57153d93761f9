//! The page as Markdown: headings, text and tables.

use std::fmt::Write;

use super::Block;

pub(super) fn render(title: &str, blocks: &[Block]) -> String {
    let mut text = format!("# {title}\n");
    for block in blocks {
        let _ = match block {
            Block::Heading(heading) => writeln!(text, "\n## {}", escape(heading)),
            Block::Text(paragraph) => writeln!(text, "\n{}", escape(paragraph)),
            Block::Table { header, rows } => {
                let line = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                let rule = format!("|---|{}\n", "---:|".repeat(header.len().saturating_sub(1)));
                let rows: String = rows.iter().map(|row| line(row)).collect();
                write!(text, "\n{}{rule}{rows}", line(header))
            }
            Block::Figure { .. } => Ok(()),
        };
    }
    text
}

/// Names of models and data sets may hold what Markdown would take for its own. Between backticks it takes
/// nothing, but the cells of a table end at `|` there too.
fn escape(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let escaped = parts.iter().enumerate().map(|(place, part)| {
        let is_code = place % 2 == 1 && place + 1 < parts.len();
        match is_code {
            true => part.replace('|', "\\|"),
            false => part
                .replace('\\', "\\\\")
                .replace('|', "\\|")
                .replace('<', "&lt;")
                .replace('_', "\\_"),
        }
    });
    escaped.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_backticks_is_not_escaped() {
        for (text, shown) in [
            ("a_b <c> `d_e`", "a\\_b &lt;c> `d_e`"),
            ("`a|b`", "`a\\|b`"),
            ("one ` a_b", "one ` a\\_b"),
            ("`a` b_c `", "`a` b\\_c `"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }
}
