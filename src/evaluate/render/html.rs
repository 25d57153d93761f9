//! The page as one HTML file that needs no other: light and dark, on a screen of any width.

use std::fmt::Write;

use super::Block;

const STYLE: &str = include_str!("style.css");

pub(super) fn render(title: &str, blocks: &[Block]) -> String {
    let mut body = String::new();
    for block in blocks {
        let _ = match block {
            Block::Heading(heading) => writeln!(body, "<h2>{}</h2>", escape(heading)),
            Block::Text(paragraph) => writeln!(body, "<p>{}</p>", escape(paragraph)),
            Block::Table { header, rows } => {
                let cells = |tag: &str, cells: &[String]| -> String {
                    let cell = |cell: &String| format!("<{tag}>{}</{tag}>", escape(cell));
                    format!("<tr>{}</tr>", cells.iter().map(cell).collect::<String>())
                };
                let rows: String = rows.iter().map(|row| cells("td", row)).collect();
                writeln!(
                    body,
                    "<div class=\"wide\"><table><thead>{}</thead><tbody>{rows}</tbody></table></div>",
                    cells("th", header)
                )
            }
            Block::Figure { svg, caption } => {
                writeln!(body, "<figure>{svg}<figcaption>{}</figcaption></figure>", escape(caption))
            }
        };
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}\
         </title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}\
         </main>\n</body>\n</html>\n"
    )
}

/// Text as it may stand between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
