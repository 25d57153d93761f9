//! The page as Markdown: headings, text and tables.

use std::fmt::Write;

use super::Block;

pub(super) fn render(blocks: &[Block]) -> String {
    let mut text = "# Evaluation\n".to_owned();
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

/// Names of models and data sets may hold what Markdown would take for its own.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('_', "\\_")
}
