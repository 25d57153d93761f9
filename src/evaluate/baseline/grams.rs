//! From a text to the counts of its hashed n-grams.
//!
//! Words are runs of letters and digits, alone and in pairs; characters are taken in runs of two to
//! five inside what stands between white space, with one space at either end (scikit-learn's
//! `ngram_range=(1, 2)` and `analyzer="char_wb", ngram_range=(2, 5)`, but words of one character
//! count too). A language that is written without spaces is read by its characters.
//!
//! The hash is 64-bit FNV-1a over code points in place of bytes, after the number of the block; its
//! bucket is the top [`BUCKET_BITS`] bits of its product with 2⁶⁴/φ, since the low bits of FNV mix
//! badly (Knuth, "The art of computer programming", volume 3, section 6.4).

use crate::data::{Example, clean};

/// Buckets, as a power of two.
pub const BUCKET_BITS: u32 = 22;
/// Most characters that are read of a text: of a longer one the first and the last half of them.
pub const CHARACTERS: usize = 2000;
/// Longest run of characters.
const LONGEST: usize = 5;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The buckets of one kind of n-gram, ascending, each with the number of times it occurs.
pub type Block = Vec<(u32, f32)>;

/// Words and characters of the text and, where there is one, of the pair: never one for the other.
pub fn blocks(example: &Example) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(4);
    for (field, text) in
        [Some(&example.text), example.pair.as_ref()].into_iter().flatten().enumerate()
    {
        let text = clean(text);
        let text = shortened(&text).to_lowercase();
        let number = 2 * field as u64;
        blocks.push(counted(words(&text, number)));
        blocks.push(counted(characters(&text, number + 1)));
    }
    blocks
}

/// The first and the last half of the characters that are read.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    let half = CHARACTERS / 2;
    let Some((head, _)) = text.char_indices().nth(half) else { return text.into() };
    let Some((tail, _)) = text.char_indices().rev().nth(half - 1) else { return text.into() };
    if tail <= head { text.into() } else { format!("{} {}", &text[..head], &text[tail..]).into() }
}

#[inline(always)]
fn step(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(PRIME)
}

#[inline(always)]
fn bucket(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BUCKET_BITS)) as u32
}

/// Words alone and in pairs.
fn words(text: &str, block: u64) -> Vec<u32> {
    let seed = step(OFFSET, block);
    let mut found = Vec::with_capacity(text.len() / 2);
    let mut before = None;
    let apart = |c: char| !(c.is_alphanumeric() || c == '_');
    for word in text.split(apart).filter(|word| !word.is_empty()) {
        let hash = word.chars().fold(seed, |hash, c| step(hash, c.into()));
        found.push(bucket(hash));
        if let Some(before) = before {
            found.push(bucket(step(step(hash, ' '.into()), before)));
        }
        before = Some(hash);
    }
    found
}

/// Runs of two to five characters.
fn characters(text: &str, block: u64) -> Vec<u32> {
    let seed = step(OFFSET, block);
    let mut found = Vec::with_capacity(4 * text.len());
    let mut padded: Vec<char> = Vec::new();
    for piece in text.split_whitespace() {
        padded.clear();
        padded.push(' ');
        padded.extend(piece.chars());
        padded.push(' ');
        for start in 0..padded.len() - 1 {
            let end = padded.len().min(start + LONGEST);
            let mut hash = step(seed, padded[start].into());
            for &c in &padded[start + 1..end] {
                hash = step(hash, c.into());
                found.push(bucket(hash));
            }
        }
    }
    found
}

fn counted(mut buckets: Vec<u32>) -> Block {
    buckets.sort_unstable();
    let runs = buckets.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len() as f32)).collect()
}
