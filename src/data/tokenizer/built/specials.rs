//! Special and added tokens: what they are called, where that is said, and the ids that they get.
//!
//! transformers reads `added_tokens_decoder` of `tokenizer_config.json`; without it
//! `special_tokens_map.json` and `added_tokens.json`, and names in `tokenizer_config.json`; what nobody
//! names is called as the class has it. Tokens that the vocabulary lacks get the ids behind it. The
//! ids in files are not followed there, so a file that means others is refused here.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::class::{Class, KEYS};
use super::{Sources, short};

const DECODER: &str = "added_tokens_decoder";
const FILE: &str = "added_tokens.json";

/// Bytes of a token: real ones have some dozens.
const LONGEST: usize = 1000;

/// A token that is looked for in the text before it is taken apart.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub content: String,
    pub flags: Flags,
    /// Whether a file names it, rather than the class alone.
    declared: bool,
    /// The id that a file gives it.
    id: Option<u64>,
}

/// How a token is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    single_word: bool,
    /// It takes the white space on this side along.
    lstrip: bool,
    rstrip: bool,
    /// In the normalised text.
    normalized: bool,
    special: bool,
}

impl Flags {
    /// Of a special token about which nothing else is said.
    pub(super) const SPECIAL: Self =
        Self { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };

    /// Of a piece that a SentencePiece model defines as a whole.
    pub(super) const WHOLE: Self = Self { special: false, ..Self::SPECIAL };

    fn read(object: &Value, usual: Self) -> Self {
        let flag = |key: &str, usual| object[key].as_bool().unwrap_or(usual);
        Self {
            single_word: flag("single_word", usual.single_word),
            lstrip: flag("lstrip", usual.lstrip),
            rstrip: flag("rstrip", usual.rstrip),
            normalized: flag("normalized", usual.normalized),
            special: flag("special", usual.special),
        }
    }
}

/// The special tokens of a folder by their keys, and what else is added.
#[derive(Debug)]
pub(super) struct Specials {
    /// In the order of [`KEYS`].
    named: [Option<Token>; 7],
    /// Tokens with an id, in the order of their ids.
    numbered: Vec<Token>,
    /// Where those stand.
    numbered_in: &'static str,
    /// `additional_special_tokens`, and what a SentencePiece model defines.
    further: Vec<Token>,
}

impl Specials {
    /// What the files say, by the defaults of the class.
    pub(super) fn read(class: &Class, sources: &Sources) -> Result<Self, String> {
        let decoder = &sources.config[DECODER];
        let places = match decoder.is_object() {
            true => vec![&sources.config],
            false => vec![&sources.special_tokens_map, &sources.config],
        };
        let declared = |key: &str| places.iter().map(|place| &place[key]).find(|v| !v.is_null());
        let mut named = [const { None }; 7];
        for (token, key) in named.iter_mut().zip(KEYS) {
            let lstrip = key == "mask_token" && class.mask_takes_the_space;
            let usual = Flags { lstrip, ..Flags::SPECIAL };
            *token = match declared(key) {
                Some(value) => Some(special(key, value, usual)?),
                None => class.token(key).map(|content| Token::new(content, usual)),
            };
        }
        let numbered_in = if decoder.is_object() { DECODER } else { FILE };
        let mut all = Self { named, numbered: Vec::new(), numbered_in, further: Vec::new() };
        match decoder.as_object() {
            Some(decoder) => all.number_by_decoder(decoder)?,
            None => all.number_by_file(&sources.added_tokens)?,
        }
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            let values: Vec<&Value> = match declared(key) {
                Some(Value::Array(values)) => values.iter().collect(),
                Some(Value::Object(values)) => values.values().collect(),
                _ => continue,
            };
            for value in values {
                all.further.push(special(key, value, Flags::SPECIAL)?);
            }
        }
        Ok(all)
    }

    /// `added_tokens_decoder`: by id, with everything that there is to say of a token.
    fn number_by_decoder(&mut self, decoder: &Map<String, Value>) -> Result<(), String> {
        let key = DECODER;
        let mut numbered = Vec::new();
        for (id, value) in decoder {
            let number = id.parse::<u64>();
            let number = number.map_err(|_| format!("`{key}` has the id `{}`", short(id)))?;
            let special = value["special"].as_bool().unwrap_or(false);
            let usual = Flags { special, normalized: !special, ..Flags::default() };
            let token = Token::new(content_of(key, value)?, Flags::read(value, usual));
            numbered.push(Token { declared: true, id: Some(number), ..token });
        }
        for token in self.named.iter_mut().flatten() {
            if let Some(found) = numbered.iter().find(|found| found.content == token.content) {
                token.flags = found.flags;
            }
        }
        self.set_numbered(numbered)
    }

    /// `added_tokens.json`: by content, with the id alone.
    fn number_by_file(&mut self, file: &Value) -> Result<(), String> {
        let key = FILE;
        let empty = Map::new();
        let entries = match file {
            Value::Object(entries) => entries,
            Value::Null => &empty,
            _ => return Err(format!("`{key}` is not an object of tokens and ids")),
        };
        let mut numbered = Vec::new();
        for (content, id) in entries {
            let number = id.as_u64().ok_or_else(|| {
                format!("`{key}` gives `{}` the id {}", short(content), short(&id.to_string()))
            })?;
            let own = self.named.iter().flatten().find(|token| token.content == *content);
            let usual = Flags { normalized: true, ..Flags::default() };
            let token = Token::new(checked(key, content)?, own.map_or(usual, |own| own.flags));
            numbered.push(Token { declared: true, id: Some(number), ..token });
        }
        self.set_numbered(numbered)
    }

    fn set_numbered(&mut self, mut numbered: Vec<Token>) -> Result<(), String> {
        numbered.sort_by_key(|token| token.id);
        if let Some(pair) = numbered.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(format!(
                "`{}`: `{}` and `{}` both have the id {}",
                self.numbered_in,
                short(&pair[0].content),
                short(&pair[1].content),
                pair[0].id.unwrap_or_default()
            ));
        }
        self.numbered = numbered;
        Ok(())
    }

    /// Adds a token that the vocabulary itself declares.
    pub(super) fn push(&mut self, content: &str, flags: Flags) {
        self.further.push(Token { declared: true, ..Token::new(content, flags) });
    }

    /// The special token of a key.
    pub(super) fn content(&self, key: &str) -> Option<&str> {
        let place = KEYS.iter().position(|own| *own == key)?;
        self.named[place].as_ref().map(|token| token.content.as_str())
    }

    /// The special token of a key, which the class must have.
    pub(super) fn needed(&self, key: &str) -> Result<&str, String> {
        self.content(key).ok_or_else(|| format!("no file says what `{key}` is"))
    }

    /// `added_tokens` of a `tokenizer.json`. `rows` is how many embeddings the encoder has, if that is
    /// known: a token that nobody but the class names, and that has none, is left out.
    pub(super) fn added(
        &self,
        vocabulary: &Vocabulary<'_>,
        rows: Option<u64>,
    ) -> Result<Vec<Value>, String> {
        let mut next = vocabulary.ids.len() as u64;
        let mut seen = HashSet::new();
        let mut added = Vec::new();
        let named = || self.named.iter().flatten();
        for token in self.numbered.iter().chain(named()).chain(&self.further) {
            if !seen.insert(token.content.as_str()) {
                continue;
            }
            let id = match vocabulary.ids.get(token.content.as_str()) {
                Some(&id) => id,
                None => {
                    let taken = vocabulary.behind.get(&next);
                    let useless = taken.is_some() || rows.is_some_and(|rows| next >= rows);
                    if !token.declared && useless {
                        continue;
                    }
                    if let Some(taken) = taken {
                        return Err(format!(
                            "the ids of the vocabulary have gaps: the added token `{}` would get \
                             the id {next}, which is that of `{}`",
                            short(&token.content),
                            short(taken)
                        ));
                    }
                    next += 1;
                    next - 1
                }
            };
            if let Some(meant) = token.id.filter(|&meant| meant != id) {
                return Err(format!(
                    "`{}` gives `{}` the id {meant}, but the tokenizer would give it {id}; load and \
                     save the tokenizer with transformers, which writes `tokenizer.json`",
                    self.numbered_in,
                    short(&token.content)
                ));
            }
            let special =
                token.flags.special || named().any(|named| named.content == token.content);
            let Flags { single_word, lstrip, rstrip, normalized, .. } = token.flags;
            added.push(json!({
                "id": id, "content": token.content, "single_word": single_word, "lstrip": lstrip,
                "rstrip": rstrip, "normalized": normalized, "special": special,
            }));
        }
        added.sort_by_key(|token| token["id"].as_u64());
        Ok(added)
    }
}

/// The tokens that a model has without added ones, and their ids.
pub(super) struct Vocabulary<'a> {
    ids: HashMap<&'a str, u64>,
    /// Ids from the number of tokens on: where there are any, others are missing below.
    behind: HashMap<u64, &'a str>,
}

impl<'a> Vocabulary<'a> {
    /// Of two equal tokens the later counts.
    pub(super) fn of(tokens: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let ids: HashMap<&str, u64> = tokens.collect();
        let behind = ids.iter().filter(|&(_, &id)| id >= ids.len() as u64);
        Self { behind: behind.map(|(&token, &id)| (id, token)).collect(), ids }
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = (&'a str, u64)> {
        self.ids.iter().map(|(&token, &id)| (token, id))
    }

    pub(super) fn id(&self, token: &str) -> Result<u64, String> {
        let id = self.ids.get(token).copied();
        id.ok_or_else(|| format!("the vocabulary has no `{}`", short(token)))
    }
}

impl Token {
    fn new(content: &str, flags: Flags) -> Self {
        Self { content: content.to_owned(), flags, declared: false, id: None }
    }
}

/// A special token, as a text or as an object with flags.
fn special(key: &str, value: &Value, usual: Flags) -> Result<Token, String> {
    let usual = if value.is_object() { Flags::SPECIAL } else { usual };
    let flags = Flags { special: true, ..Flags::read(value, usual) };
    Ok(Token { declared: true, ..Token::new(content_of(key, value)?, flags) })
}

fn content_of<'a>(key: &str, value: &'a Value) -> Result<&'a str, String> {
    let content = value.as_str().or_else(|| value["content"].as_str());
    let content =
        content.ok_or_else(|| format!("`{key}` has {}, not a token", short(&value.to_string())))?;
    checked(key, content)
}

fn checked<'a>(key: &str, content: &'a str) -> Result<&'a str, String> {
    match content.len() {
        0 => Err(format!("`{key}` has an empty token")),
        bytes if bytes > LONGEST => {
            Err(format!("`{key}` has a token of {bytes} bytes; the maximum is {LONGEST}"))
        }
        _ => Ok(content),
    }
}
