//! What must not leave this machine: paths of it, and secrets.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::Value as Toml;

use super::PublishError;
use crate::hub;

/// The last part of a path, or of an address without its query.
pub fn file_name(path: &str) -> String {
    let path =
        if path.contains("://") { path.split(['?', '#']).next().unwrap_or(path) } else { path };
    let trimmed = path.trim_end_matches(['/', '\\']);
    trimmed.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// Whether a value names a place on this machine. An id of the Hub does not, unless there is a folder
/// of that name.
fn is_path(text: &str) -> bool {
    let rooted = text.starts_with(['/', '~', '\\']) || text.starts_with('.') && text.contains('/');
    let drive = text.as_bytes().get(1) == Some(&b':') && text.contains(['/', '\\']);
    if text.contains("://") {
        // An address may have a key in its query, or a password.
        return !text.contains([' ', '\n']) && text.contains(['?', '@']);
    }
    let one_line = !text.contains('\n');
    let exists = text.contains(['/', '\\']) && Path::new(text).exists();
    let several = text.contains('/') && !text.contains(' ') && !hub::is_id(text);
    one_line && (rooted || drive || exists || several)
}

/// A name as it may be shown to others: of a path, the last part.
pub fn shown(name: &str) -> String {
    if is_path(name) { file_name(name) } else { name.to_owned() }
}

/// A config in which every path is only a name.
pub fn reduced(value: Toml) -> Toml {
    match value {
        Toml::String(text) if is_path(&text) => Toml::String(file_name(&text)),
        Toml::Array(list) => Toml::Array(list.into_iter().map(reduced).collect()),
        Toml::Table(table) => {
            // What the author wrote for others to read stays as it is.
            let own = |(key, value)| {
                let value = if key == "publish" { value } else { reduced(value) };
                (key, value)
            };
            Toml::Table(table.into_iter().map(own).collect())
        }
        value => value,
    }
}

/// The same for the values of some keys of a JSON object. Others, such as names of classes, may look
/// like paths and are none.
pub fn reduced_keys(mut object: Json, keys: &[&str]) -> Json {
    for key in keys {
        if let Some(Json::String(text)) = object.get_mut(*key)
            && is_path(text)
        {
            *text = file_name(text);
        }
    }
    object
}

/// Refuses a file that holds the path of the home folder or the token: the last look before
/// anything is sent.
pub fn guard(
    name: &str,
    bytes: &[u8],
    is_secret: &dyn Fn(&[u8]) -> bool,
) -> Result<(), PublishError> {
    let private = |what| PublishError::Private { name: name.to_owned(), what };
    let plain = |home: PathBuf| home.components().collect::<PathBuf>();
    let home = std::env::home_dir().map(|home| plain(home).to_string_lossy().into_owned());
    let home = home.filter(|home| home.len() > 1).map(|home| home + "/");
    let holds = |what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    if home.is_some_and(|home| holds(&home)) {
        return Err(private("the path of your home folder"));
    }
    if is_secret(bytes) {
        return Err(private("your token"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names_and_nothing_else_changes() {
        for (text, name) in [
            ("/somewhere/private/tickets.csv", "tickets.csv"),
            ("../data/tickets", "tickets"),
            ("~/x/y.parquet", "y.parquet"),
            ("C:\\data\\x.csv", "x.csv"),
            ("a/b/c.csv", "c.csv"),
            ("/somewhere/tickets/", "tickets"),
            ("https://a.b/c/train.parquet?key=secret/1", "train.parquet"),
            ("https://user:secret@a.b/train.parquet", "train.parquet"),
        ] {
            assert!(is_path(text), "{text}");
            assert_eq!(file_name(text), name);
        }
        for text in ["imdb", "owner/name", "head_tail", "read/write of texts", "https://a.b/c", ""]
        {
            assert!(!is_path(text), "{text}");
        }
    }

    #[test]
    fn a_config_keeps_all_keys() {
        let text = "name = \"a\"\n[data]\ndataset = \"/x/y/t.csv\"\nlist = [\"/x/z\", 3]\n\
                    [publish]\ndescription = \"/ is a slash\"\n";
        let table = reduced(Toml::Table(text.parse().unwrap()));
        assert_eq!(table["data"]["dataset"].as_str(), Some("t.csv"));
        assert_eq!(table["data"]["list"][0].as_str(), Some("z"));
        assert_eq!(table["publish"]["description"].as_str(), Some("/ is a slash"));
        let json = serde_json::json!({"dataset": "/x/y.csv", "labels": ["a/b/c"], "rows": 3});
        assert_eq!(
            reduced_keys(json, &["dataset", "rows", "run"]).to_string(),
            r#"{"dataset":"y.csv","labels":["a/b/c"],"rows":3}"#
        );
    }

    #[test]
    fn a_file_with_the_token_is_refused() {
        let secret = |bytes: &[u8]| bytes.windows(9).any(|window| window == b"hf_secret");
        let message = guard("README.md", b"my hf_secret is here", &secret).unwrap_err().to_string();
        assert!(message.contains("README.md") && !message.contains("hf_secret"), "{message}");
        assert!(guard("README.md", b"nothing", &secret).is_ok());
    }
}
