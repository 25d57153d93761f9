//! Token cache: a split is tokenised once into a safetensors file that is mapped into memory.
//!
//! The file's name is a fingerprint of all that decides its content, so a stale one is never read.
//! Tensors: `tokens` (u16, or u32 where the vocabulary asks for it) of all rows one after another,
//! `offsets` (u64, rows + 1), `full_lengths` (u32, tokens before truncation), and for texts with
//! segments `type_ids` (u8). `sha256` (u8, 32) is over the bytes of the others, in the order of their
//! names: a bit that has fallen over would train another model without a word. Labels are not in it:
//! they are cheap, and may change.

mod file;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Preprocessing;
use super::clean::{self, clean};
use super::clip::{clip, mark};
use super::example::Example;
use super::split::{hexadecimal, update_texts};
use super::tokenizer::{Encoded, TextTokenizer, TokenizerError, Truncation};
use crate::store::{forget_unused, mark_used};

pub use file::Tokens;

/// Changes with the layout of the file, and when a new version of the `tokenizers` crate gives
/// other ids for the same file.
const VERSION: u32 = 2;

/// Rows that are tokenised between two reports of progress.
const CHUNK: usize = 1024;

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot {doing} the token cache `{path}`")]
    Io {
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that is no token cache of these rows.
    #[error("the token cache `{path}` is damaged: {reason}; delete it, and it will be recreated")]
    Damaged {
        path: PathBuf,
        /// The first thing that is wrong with it.
        reason: String,
    },
    /// A text could not be tokenised; the index counts from the first row.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// Where the tokens came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A valid file was there.
    Found,
    Built,
    /// There was one, it was damaged, and it has been replaced.
    Rebuilt,
}

/// The tokens of `examples`, whose texts are [cleaned](clean()) first where that is asked for: mapped from
/// `<folder>/<fingerprint>.safetensors`, which is made if it is missing or damaged. `progress` is
/// told the rows done and all rows, after each chunk, when something has to be tokenised.
pub fn prepare(
    folder: &Path,
    tokenizer: &TextTokenizer,
    examples: &[Example],
    preprocessing: &Preprocessing,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Tokens, CacheError> {
    let fingerprint = fingerprint(tokenizer, examples, preprocessing)?;
    let path = folder.join(format!("{fingerprint}.safetensors"));
    let expected = file::Expected {
        rows: examples.len(),
        max_length: tokenizer.most_tokens(preprocessing.max_length),
        vocabulary: tokenizer.vocabulary_size(),
    };
    let origin = match Tokens::open(&path, expected, Origin::Found) {
        Ok(tokens) => {
            mark_used(&path);
            return Ok(tokens);
        }
        Err(CacheError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Origin::Built
        }
        Err(CacheError::Damaged { .. }) => Origin::Rebuilt,
        // What cannot be read may still be made.
        Err(_) => Origin::Built,
    };
    let mut builder = file::Builder::new(expected);
    for (number, chunk) in examples.chunks(CHUNK).enumerate() {
        for encoded in encode(tokenizer, chunk, preprocessing)
            .map_err(|error| with_row(error, number * CHUNK))?
        {
            builder.push(&encoded);
        }
        progress(number * CHUNK + chunk.len(), examples.len());
    }
    let written = builder.write(folder, &path);
    forget_unused(folder);
    match written.and_then(|()| Tokens::open(&path, expected, origin)) {
        Ok(tokens) => Ok(tokens),
        // A cache saves time only: tokens are the same in memory.
        Err(why) => Tokens::in_memory(builder.to_bytes(), expected, &why)
            .map_err(|reason| CacheError::Damaged { path, reason }),
    }
}

/// Cleans and tokenises examples.
pub(super) fn encode(
    tokenizer: &TextTokenizer,
    examples: &[Example],
    preprocessing: &Preprocessing,
) -> Result<Vec<Encoded>, TokenizerError> {
    let clean = |text| if preprocessing.clean { clean(text) } else { Cow::Borrowed(text) };
    let cleaned: Vec<(Cow<str>, Option<Cow<str>>)> =
        examples.iter().map(|e| (clean(&e.text), e.pair.as_deref().map(clean))).collect();
    let texts: Vec<(&str, Option<&str>)> =
        cleaned.iter().map(|(text, pair)| (text.as_ref(), pair.as_deref())).collect();
    encode_clean(tokenizer, &texts, preprocessing.max_length, preprocessing.truncation)
}

/// Tokenises texts that are clean, in training and in serving alike.
pub fn encode_clean(
    tokenizer: &TextTokenizer,
    texts: &[(&str, Option<&str>)],
    max_length: usize,
    truncation: Truncation,
) -> Result<Vec<Encoded>, TokenizerError> {
    let clipped: Vec<(Cow<str>, Option<Cow<str>>)> = texts
        .iter()
        .map(|&(text, pair)| (clip(text, max_length), pair.map(|pair| clip(pair, max_length))))
        .collect();
    let short: Vec<(&str, Option<&str>)> =
        clipped.iter().map(|(text, pair)| (text.as_ref(), pair.as_deref())).collect();
    let mut encoded = tokenizer.encode(&short, max_length, truncation)?;
    for (encoded, &(text, pair)) in encoded.iter_mut().zip(texts) {
        for one in [Some(text), pair].into_iter().flatten() {
            mark(encoded, one, max_length);
        }
    }
    Ok(encoded)
}

/// Counts the row of an error from the first row of all.
fn with_row(error: TokenizerError, first: usize) -> TokenizerError {
    match error {
        TokenizerError::Encode { index, source } => {
            TokenizerError::Encode { index: first + index, source }
        }
        other => other,
    }
}

/// SHA-256, in hexadecimal, of everything that decides the content of the file.
fn fingerprint(
    tokenizer: &TextTokenizer,
    examples: &[Example],
    preprocessing: &Preprocessing,
) -> Result<String, TokenizerError> {
    let Preprocessing { max_length, truncation, clean } = preprocessing;
    let mut hasher = Sha256::new();
    hasher.update(b"bayes token cache");
    let cleaning = if *clean { clean::VERSION } else { 0 };
    for version in [VERSION, cleaning] {
        hasher.update(version.to_le_bytes());
    }
    hasher.update((*max_length as u64).to_le_bytes());
    update_texts(&mut hasher, truncation.name(), None);
    hasher.update(Sha256::digest(tokenizer.to_json()?));
    for hypothesis in tokenizer.hypothesis_ids() {
        hasher.update((hypothesis.len() as u64).to_le_bytes());
        hypothesis.iter().for_each(|id| hasher.update(id.to_le_bytes()));
    }
    hasher.update((examples.len() as u64).to_le_bytes());
    for example in examples {
        update_texts(&mut hasher, &example.text, example.pair.as_deref());
    }
    Ok(hexadecimal(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Truncation, vocabulary};

    const WORDS: &str = "a dull film with one good scene and a long wait for it";

    fn tokenizer() -> TextTokenizer {
        TextTokenizer::from_tokenizer(vocabulary::build(&[WORDS], 200).unwrap()).unwrap()
    }

    fn examples() -> Vec<Example> {
        let texts = ["a dull film", "", WORDS, "good<br />scene", "long wait"];
        let example = |text: &str| Example { text: text.to_string(), pair: None, label: 0 };
        texts.map(example).into()
    }

    fn prepared(folder: &Path, examples: &[Example], max_length: usize) -> Tokens {
        let preprocessing = Preprocessing::new(max_length, Truncation::HeadTail);
        prepare(folder, &tokenizer(), examples, &preprocessing, &mut |_, _| ()).unwrap()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn rows(tokens: &Tokens) -> Vec<(Vec<u32>, Vec<u32>)> {
        (0..tokens.rows()).map(|i| tokens.get(i)).map(|r| (r.ids(), r.type_ids())).collect()
    }

    #[test]
    fn the_cache_holds_what_the_tokenizer_gives_for_clean_texts() {
        let folder = tempfile::tempdir().unwrap();
        let built = prepared(folder.path(), &examples(), 8);
        let texts: Vec<_> =
            ["a dull film", "", WORDS, "good scene", "long wait"].map(|text| (text, None)).into();
        let direct = tokenizer().encode(&texts, 8, Truncation::HeadTail).unwrap();
        assert_eq!(built.rows(), 5);
        for (i, encoded) in direct.iter().enumerate() {
            assert_eq!(built.get(i).ids(), encoded.ids);
            assert_eq!(built.get(i).type_ids(), encoded.type_ids);
            assert_eq!(built.length(i), encoded.ids.len());
            assert_eq!(built.full_length(i), encoded.full_length as usize);
        }
        assert_eq!(built.lengths(), [5, 2, 8, 4, 4]);
        assert_eq!(built.truncated(), 1);
        assert_eq!(built.origin(), Origin::Built);

        let found = prepared(folder.path(), &examples(), 8);
        assert_eq!((found.origin(), rows(&found)), (Origin::Found, rows(&built)));
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[test]
    fn pairs_have_segments_and_a_large_vocabulary_wide_ids() {
        let folder = tempfile::tempdir().unwrap();
        let mut examples = examples();
        examples[0].pair = Some("good scene".to_string());
        let mut wide = vocabulary::build(&[WORDS], 200).unwrap();
        let token = tokenizers::AddedToken::from("film", true);
        let many = (0..70_000).map(|i| tokenizers::AddedToken::from(format!("t{i}"), false));
        wide.add_tokens(many.chain([token])).unwrap();
        let wide = TextTokenizer::from_tokenizer(wide).unwrap();
        for tokenizer in [tokenizer(), wide] {
            let mut last = examples.clone();
            last[4].text = "a film t69999".to_string();
            let truncation = Truncation::Head;
            let cut = Preprocessing::new(16, truncation);
            let tokens = prepare(folder.path(), &tokenizer, &last, &cut, &mut |_, _| ()).unwrap();
            let texts: Vec<_> = last.iter().map(|e| (e.text.as_str(), e.pair.as_deref())).collect();
            let direct = tokenizer.encode(&texts, 16, truncation).unwrap();
            assert_eq!(tokens.get(0).type_ids(), [0, 0, 0, 0, 0, 1, 1, 1]);
            assert_eq!(tokens.get(0).ids(), direct[0].ids);
            assert_eq!(tokens.get(4).ids(), direct[4].ids);
        }
    }

    #[test]
    fn whatever_changes_the_tokens_changes_the_name_and_labels_do_not() {
        let other = vocabulary::build(&["other words"], 200).unwrap();
        let other = TextTokenizer::from_tokenizer(other).unwrap();
        let usual = Preprocessing::new(8, Truncation::Head);
        let base = fingerprint(&tokenizer(), &examples(), &usual).unwrap();
        let mut relabelled = examples();
        relabelled[0].label = 7;
        assert_eq!(fingerprint(&tokenizer(), &relabelled, &usual).unwrap(), base);
        let mut paired = examples();
        paired[1].pair = Some(String::new());
        for (tokenizer, examples, preprocessing) in [
            (&other, &examples(), usual),
            (&tokenizer(), &paired, usual),
            (&tokenizer(), &examples()[..4].to_vec(), usual),
            (&tokenizer(), &examples(), Preprocessing::new(9, Truncation::Head)),
            (&tokenizer(), &examples(), Preprocessing::new(8, Truncation::HeadTail)),
            (&tokenizer(), &examples(), Preprocessing { clean: false, ..usual }),
        ] {
            let found = fingerprint(tokenizer, examples, &preprocessing).unwrap();
            assert_ne!(found, base);
        }
    }

    #[test]
    fn no_damage_goes_unnoticed_into_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let whole = rows(&prepared(folder.path(), &examples(), 8));
        let path = files(folder.path()).remove(0);
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 7, 40, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let tokens = prepared(folder.path(), &examples(), 8);
            assert_eq!((tokens.origin(), rows(&tokens)), (Origin::Rebuilt, whole.clone()));
        }
        // Each byte flipped, or one bit of it, which leaves tokens of the vocabulary: it is refused and made
        // again, or it counts for nothing.
        for (i, mask) in (0..bytes.len()).flat_map(|i| [(i, 0xff), (i, 1)]) {
            let mut flipped = bytes.clone();
            flipped[i] ^= mask;
            std::fs::write(&path, &flipped).unwrap();
            let tokens = prepared(folder.path(), &examples(), 8);
            let rows = rows(&tokens);
            assert!(rows == whole, "byte {i}");
        }
        assert_eq!(files(folder.path()).len(), 1, "no temporary file is left");
    }

    #[test]
    fn progress_ends_at_all_rows_and_no_rows_are_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let example = Example { text: "a film".to_string(), pair: None, label: 0 };
        let many = vec![example; 2 * CHUNK + 1];
        let mut seen = Vec::new();
        let mut note = |done, total| seen.push((done, total));
        let cut = Preprocessing::new(8, Truncation::Head);
        prepare(folder.path(), &tokenizer(), &many, &cut, &mut note).unwrap();
        assert_eq!(seen, [(1024, 2049), (2048, 2049), (2049, 2049)]);
        assert_eq!(prepared(folder.path(), &[], 8).rows(), 0);
        assert_eq!(prepared(folder.path(), &[], 8).origin(), Origin::Found);
    }

    #[test]
    fn where_nothing_can_be_written_the_tokens_are_the_same_in_memory() {
        let kept = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("below");
        let cut = Preprocessing::new(8, Truncation::Head);
        let tokens = prepare(&folder, &tokenizer(), &examples(), &cut, &mut |_, _| ()).unwrap();
        assert!(tokens.unkept().unwrap().contains("below"), "{:?}", tokens.unkept());
        let found = prepare(kept.path(), &tokenizer(), &examples(), &cut, &mut |_, _| ());
        let found = found.unwrap();
        assert_eq!((rows(&tokens), found.unkept()), (rows(&found), None));
    }
}
