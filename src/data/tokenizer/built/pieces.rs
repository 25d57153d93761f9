//! SentencePiece models by the rules of the classes that use them: which pieces have which ids, and what
//! is done to a text before.

use std::collections::HashSet;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::sentence_piece::{Algorithm, Kind, Piece, SentencePiece};
use super::specials::{Flags, Vocabulary};
use super::{Built, Family, MOST_ENTRIES, Parts, Wrong};

/// Stands for a space.
const SPACE: &str = "▁";
/// Ways to put the pieces of a model together. Models of 250,000 pieces have twice as many.
const MOST_MERGES: usize = 2 * MOST_ENTRIES;
/// What ALBERT takes from the score of a number with a comma, so that the comma becomes a piece of its
/// own. transformers 5 forgot it.
const NUMBER_COMMA: f64 = 100.0;

impl Built<'_> {
    /// The tokenizer of a model.
    pub(super) fn pieces(mut self, family: Family, model: &SentencePiece) -> Result<Value, Wrong> {
        let file = self.class.files()[0];
        let wrong = |message| Wrong { file, message };
        let (tokens, unknown) = self.arranged(family, model).map_err(wrong)?;
        for piece in &model.pieces {
            match piece.kind {
                Kind::Control => self.specials.push(&piece.text, Flags::SPECIAL),
                Kind::UserDefined => self.specials.push(&piece.text, Flags::WHOLE),
                _ => {}
            }
        }
        if family == Family::Camembert {
            for (token, _) in &tokens[..5] {
                self.specials.push(token, Flags::SPECIAL);
            }
        }
        let metaspace = self.metaspace(family)?;
        let parts = Parts {
            normalizer: self.normalizer(family, &model.charsmap)?,
            pre_tokenizer: self.pre_tokenizer(family, &metaspace)?,
            model: match model.algorithm {
                Algorithm::Unigram => json!({
                    "type": "Unigram", "unk_id": unknown, "byte_fallback": false, "vocab": tokens,
                }),
                Algorithm::BytePairs => {
                    byte_pairs(&tokens, unknown, &model.pieces).map_err(wrong)?
                }
            },
            decoder: metaspace,
        };
        let known = Vocabulary::of(tokens.iter().map(|(token, _)| token.as_str()).zip(0..));
        self.file(parts, &known).map_err(wrong)
    }

    /// The tokens in the order of their ids, with their scores, and the unknown one. fairseq, where XLM-R
    /// and CamemBERT come from, has special tokens of its own before those of sentencepiece.
    fn arranged(
        &self,
        family: Family,
        model: &SentencePiece,
    ) -> Result<(Vec<(String, f64)>, usize), String> {
        let scored = |piece: &Piece| (piece.text.clone(), f64::from(piece.score));
        let own = |key: &str| self.specials.needed(key).map(|token| (token.to_owned(), 0.0));
        let fixed = |token: &str, score| Ok((token.to_owned(), score));
        let begin: Vec<Result<(String, f64), String>> = match family {
            Family::XlmRoberta => {
                ["bos_token", "pad_token", "eos_token", "unk_token"].map(own).into()
            }
            Family::Camembert => vec![
                fixed("<s>NOTUSED", 0.0),
                own("pad_token"),
                fixed("</s>NOTUSED", 0.0),
                own("unk_token"),
                fixed("<unk>NOTUSED", -100.0),
            ],
            Family::Albert => {
                let mut tokens: Vec<_> = model.pieces.iter().map(scored).collect();
                for (token, score) in &mut tokens {
                    if ends_in_number_comma(token) {
                        *score -= NUMBER_COMMA;
                    }
                }
                return Ok((tokens, model.unknown));
            }
            Family::Deberta => {
                return Ok((model.pieces.iter().map(scored).collect(), model.unknown));
            }
        };
        // Those of sentencepiece give way to them.
        let replaced = if family == Family::XlmRoberta { 3 } else { 1 };
        let special = |piece: &Piece| matches!(piece.kind, Kind::Unknown | Kind::Control);
        let rest =
            model.pieces.get(replaced..).filter(|_| model.pieces[..replaced].iter().all(special));
        let rest = rest.ok_or_else(|| {
            format!(
                "the first {} of a model of `{}` must be `<unk>`, `<s>` and `</s>`",
                if replaced == 1 { "piece" } else { "three pieces" },
                self.class.name
            )
        })?;
        let begin = begin.into_iter().collect::<Result<Vec<_>, _>>()?;
        let all = begin.into_iter().chain(rest.iter().map(scored)).chain([own("mask_token")?]);
        Ok((all.collect(), 3))
    }

    fn metaspace(&self, family: Family) -> Result<Value, Wrong> {
        // DeBERTa's first word has it in any case; a text is stripped before.
        let always = family == Family::Deberta || self.flag("add_prefix_space", true)?;
        let scheme = if always { "always" } else { "never" };
        Ok(json!({
            "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true,
        }))
    }

    fn pre_tokenizer(&self, family: Family, metaspace: &Value) -> Result<Value, Wrong> {
        let steps = match family {
            Family::Deberta if self.flag("split_by_punct", false)? => {
                json!([{ "type": "Punctuation", "behavior": "Isolated" }, metaspace])
            }
            Family::Deberta => json!([metaspace]),
            _ => json!([{ "type": "WhitespaceSplit" }, metaspace]),
        };
        Ok(json!({ "type": "Sequence", "pretokenizers": steps }))
    }

    /// What is done to a text first. For DeBERTa this is what its published files and sentencepiece do; the
    /// class of transformers 5 has lost the map of characters.
    fn normalizer(&self, family: Family, charsmap: &[u8]) -> Result<Value, Wrong> {
        let map = base64::engine::general_purpose::STANDARD.encode(charsmap);
        let map = json!({ "type": "Precompiled", "precompiled_charsmap": map });
        let map = (!charsmap.is_empty()).then_some(map);
        let replace = |pattern: Value, content| json!({ "type": "Replace", "pattern": pattern, "content": content });
        let one_space = replace(json!({ "Regex": " {2,}" }), " ");
        let lower = json!({ "type": "Lowercase" });
        let mut steps = Vec::new();
        match family {
            Family::XlmRoberta | Family::Camembert => return Ok(map.unwrap_or(Value::Null)),
            Family::Albert => {
                steps.extend(["``", "''"].map(|quote| replace(json!({ "String": quote }), "\"")));
                if !self.flag("keep_accents", false)? {
                    steps.extend(["NFKD", "StripAccents"].map(|kind| json!({ "type": kind })));
                }
                if self.flag("do_lower_case", true)? {
                    steps.push(lower);
                }
            }
            Family::Deberta => {
                if self.flag("do_lower_case", false)? {
                    steps.push(lower);
                }
                steps.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
            }
        }
        steps.extend(map);
        steps.push(one_space);
        Ok(json!({ "type": "Sequence", "normalizers": steps }))
    }
}

fn ends_in_number_comma(piece: &str) -> bool {
    piece.strip_suffix(',').is_some_and(|number| number.ends_with(char::is_numeric))
}

/// Byte-pair encoding with the merges that the scores mean.
fn byte_pairs(tokens: &[(String, f64)], unknown: usize, pieces: &[Piece]) -> Result<Value, String> {
    let ids: Map<String, Value> =
        tokens.iter().zip(0..).map(|((token, _), id)| (token.clone(), Value::from(id))).collect();
    Ok(json!({
        "type": "BPE", "dropout": null, "unk_token": tokens[unknown].0,
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
        "byte_fallback": false, "ignore_merges": false, "vocab": ids, "merges": merges(pieces)?,
    }))
}

/// Every way to put a piece together from two: the best score first, then the order of the file.
fn merges(pieces: &[Piece]) -> Result<Vec<[&str; 2]>, String> {
    let normal = || pieces.iter().zip(0_usize..).filter(|(piece, _)| piece.kind == Kind::Normal);
    let known: HashSet<&str> = normal().map(|(piece, _)| piece.text.as_str()).collect();
    let mut all = Vec::new();
    for (piece, place) in normal() {
        for (cut, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(cut);
            if known.contains(left) && known.contains(right) {
                if all.len() == MOST_MERGES {
                    return Err(format!("its pieces make more than {MOST_MERGES} merges"));
                }
                all.push((piece.score, place, [left, right]));
            }
        }
    }
    all.sort_by(|(score, place, pair), (other, after, next)| {
        other.total_cmp(score).then(place.cmp(after)).then(pair.cmp(next))
    });
    Ok(all.into_iter().map(|(.., pair)| pair).collect())
}
