//! A Markdown page as its readers see it: blocks, code in the text, links, headings.

use std::path::{Path, PathBuf};

/// What is in the folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page.
pub struct Page {
    /// Its path from the root.
    pub name: String,
    text: String,
}

/// What is done with a fenced block.
#[derive(Debug, PartialEq)]
pub enum Block {
    /// Commands that are run.
    Run(Vec<String>),
    /// Commands that are only looked at.
    Check(Vec<String>),
    /// A file that later commands find.
    File(String, String),
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(root().join(name));
        Self { name: name.to_owned(), text: text.unwrap_or_else(|error| panic!("{name}: {error}")) }
    }

    /// The README, its neighbours, and all of `docs`.
    pub fn all() -> Vec<Self> {
        let mut names =
            ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned).to_vec();
        let docs = std::fs::read_dir(root().join("docs")).unwrap();
        let files = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.extend(files.map(|file| format!("docs/{file}")));
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The blocks that mean something to a reader who follows the page.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut before = "";
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            let Some(kind) = line.strip_prefix("```") else {
                before = line;
                continue;
            };
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let known = ["sh", "text", "toml", "json", "markdown"].contains(&kind);
            assert!(known, "{}: a block of `{kind}`", self.name);
            let said = |word: &str| before.strip_prefix(word)?.strip_suffix(" -->");
            let reason = said("<!-- not run: ");
            assert!(kind == "sh" || reason.is_none(), "{}: `{before}` before {kind}", self.name);
            blocks.extend(match (kind, said("<!-- file: "), reason) {
                (_, Some(file), _) => Some(Block::File(file.to_owned(), inside.join("\n") + "\n")),
                ("sh", None, None) => Some(Block::Run(commands(&inside))),
                ("sh", None, Some(_)) => Some(Block::Check(commands(&inside))),
                _ => None,
            });
            before = "";
        }
        blocks
    }

    /// All commands, run or not.
    pub fn commands(&self) -> Vec<String> {
        let blocks = self.blocks().into_iter();
        let commands = blocks.flat_map(|block| match block {
            Block::Run(commands) | Block::Check(commands) => commands,
            Block::File(..) => Vec::new(),
        });
        commands.collect()
    }

    /// The text without its blocks.
    fn prose(&self) -> Vec<&str> {
        let mut inside = false;
        let mut prose = Vec::new();
        for line in self.text.lines() {
            let fence = line.starts_with("```");
            inside ^= fence;
            if !inside && !fence {
                prose.push(line);
            }
        }
        prose
    }

    /// What stands between single backticks, which may go on in the next line.
    pub fn code(&self) -> Vec<String> {
        let prose = self.prose().join("\n").replace("````", "");
        let code = prose.split('`').skip(1).step_by(2);
        code.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Targets of links.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose().join("\n");
        let ends = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        ends.map(|(target, _)| target.to_owned()).collect()
    }

    /// The names that GitHub gives to headings.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().into_iter().filter(|line| line.starts_with('#'));
        let anchor = |line: &str| -> String {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }

    /// Where a link of this page leads.
    pub fn beside(&self, target: &str) -> PathBuf {
        root().join(&self.name).parent().unwrap().join(target)
    }
}

/// One line each, with what a backslash joins.
fn commands(lines: &[&str]) -> Vec<String> {
    let joined = lines.join("\n").replace("\\\n", " ");
    let commands = joined.lines().map(str::trim);
    commands.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn a_page_is_read_as_its_readers_see_it() {
    let text = "# A `b` and, c\nSee `--set\nx` and [a](b.md#c).\n```sh\nbayes train \\\n    x\n# no\n```\n\
                <!-- not run: network -->\n```sh\nbayes info\n```\n<!-- file: a.toml -->\n```toml\nx = 1\n```\n\
                ```text\n`y`\n```\n";
    let page = Page { name: "page.md".to_owned(), text: text.to_owned() };
    let run = Block::Run(vec!["bayes train      x".to_owned()]);
    let check = Block::Check(vec!["bayes info".to_owned()]);
    assert_eq!(page.blocks(), [run, check, Block::File("a.toml".to_owned(), "x = 1\n".to_owned())]);
    assert_eq!(page.code(), ["b", "--set x"]);
    assert_eq!((page.links(), page.anchors()), (vec!["b.md#c".into()], vec!["a-b-and-c".into()]));
}
