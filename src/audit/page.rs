//! The findings as a page for people, in Markdown and HTML.

use std::path::Path;

use super::{Audit, Finding, Lengths, Reason};
use crate::evaluate::{Block, render, table};
use crate::store::StoreError;

/// What the pages are called.
const TITLE: &str = "Audit";

/// The files of a report, which also has the findings as JSON.
pub const PAGES: [&str; 3] = ["audit.json", "audit.md", "audit.html"];

/// The most rows of a list; the table of findings has all.
const MOST: usize = 200;
/// Characters of a text that are shown.
const CHARACTERS: usize = 160;

/// Writes the two pages into a folder.
///
/// # Errors
/// A file cannot be written.
pub fn write_pages(audit: &Audit, folder: &Path) -> Result<(), StoreError> {
    let [_, markdown, html] = PAGES.map(|name| folder.join(name));
    render(TITLE, &blocks(audit), &markdown, &html)
}

/// Whether a file of one of these names is one that an audit wrote.
pub fn is_page(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_str::<serde_json::Value>(&text)
            .is_ok_and(|value| value.get("findings").is_some() && value.get("judge").is_some()),
        Some("md") => text.starts_with(&format!("# {TITLE}\n")),
        _ => text.contains(&format!("<title>{TITLE}</title>")),
    }
}

fn blocks(audit: &Audit) -> Vec<Block> {
    let rows: usize = audit.rows.values().sum();
    let splits = audit.rows.iter().map(|(split, rows)| format!("{split} {rows}"));
    let splits = splits.collect::<Vec<_>>().join(", ");
    let mut blocks = vec![
        Block::Heading(audit.dataset.clone()),
        Block::Text(format!("{rows} rows ({splits}), {} classes.", audit.classes)),
    ];
    blocks.extend(audit.not_looked_at().map(Block::Text));
    blocks.push(Block::Text(audit.labels.sentence(&audit.judge)));
    let counts = Reason::ALL.iter().filter_map(|reason| {
        let count = audit.counts.get(reason)?;
        Some(vec![reason.words().to_owned(), count.to_string()])
    });
    let characters = audit.characters.iter();
    let characters =
        characters.map(|(oddity, rows)| vec![format!("… {}", oddity.words()), rows.to_string()]);
    let lengths = audit.lengths.filter(|lengths| lengths.truncated > 0).map(
        |Lengths { limit, truncated, longest }| {
            let what = format!("longer than {limit} tokens (the longest has {longest})");
            vec![what, truncated.to_string()]
        },
    );
    blocks.push(table(&["finding", "rows"], counts.chain(characters).chain(lengths).collect()));
    if !audit.rare.is_empty() {
        let rare = audit.rare.iter();
        blocks.push(Block::Heading("Classes with few rows".to_owned()));
        blocks.push(table(
            &["class", "rows"],
            rare.map(|class| vec![class.label.clone(), class.rows.to_string()]).collect(),
        ));
    }
    if !audit.confused.is_empty() {
        blocks.push(Block::Heading("Classes that are taken for each other".to_owned()));
        let line = |pair: &super::Confused| {
            let [a, b] = pair.labels.clone();
            vec![a, b, pair.rows.to_string(), format!("{:.1} %", 100.0 * pair.share)]
        };
        let lines = audit.confused.iter().map(line).collect();
        blocks.push(table(&["class", "class", "rows of both", "taken for the other"], lines));
    }
    for reason in Reason::ALL {
        let own: Vec<&Finding> =
            audit.findings.iter().filter(|finding| finding.reason == reason).collect();
        list(reason, &own, &mut blocks);
    }
    blocks
}

fn list(reason: Reason, findings: &[&Finding], blocks: &mut Vec<Block>) {
    if findings.is_empty() {
        return;
    }
    let words = reason.words();
    let first = words.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    blocks.push(Block::Heading(format!("{first}{}", &words[first.len()..])));
    if findings.len() > MOST {
        blocks.push(Block::Text(format!("The first {MOST} of {}.", findings.len())));
    }
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
    let line = |finding: &&Finding| {
        let other = finding.other.as_ref().map(ToString::to_string).unwrap_or_default();
        // The first cell of a row takes more than one line.
        let mut cells = vec![short(finding), finding.given.clone()];
        match reason {
            Reason::Label => cells.extend([
                finding.suggested.clone().unwrap_or_default(),
                number(finding.probability),
            ]),
            Reason::Characters => {}
            _ => cells.extend([finding.suggested.clone().unwrap_or_default(), other]),
        }
        cells.push(finding.place.to_string());
        cells
    };
    let header: &[&str] = match reason {
        Reason::Label => &["text", "given", "suggested", "probability", "row"],
        Reason::Characters => &["text", "given", "row"],
        _ => &["text", "given", "other label", "earlier row", "row"],
    };
    blocks.push(table(header, findings.iter().take(MOST).map(line).collect()));
}

/// The beginning of its texts, on one line.
fn short(finding: &Finding) -> String {
    let both = [Some(&finding.text), finding.pair.as_ref()].into_iter().flatten();
    let both: Vec<&str> = both.map(String::as_str).collect();
    let line = both.join(" | ").split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
