//! Where a tokenizer's post-processor puts special tokens, read off once from probe tokens, so that
//! it holds for every kind of post-processor (template, BERT's, RoBERTa's, sequences of them).

use serde_json::{Map, Value, json};
use tokenizers::{Encoding, Token, Tokenizer};

use super::TokenizerError;

/// Ids that no vocabulary has: they stand for the whole first and second text.
const PROBES: [u32; 2] = [u32::MAX - 1, u32::MAX];

/// One place in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Special {
        id: u32,
        type_id: u32,
    },
    /// All tokens of the first (0) or second (1) text.
    Segment {
        index: usize,
        type_id: u32,
    },
}

impl Piece {
    fn type_id(&self) -> u32 {
        match *self {
            Self::Special { type_id, .. } | Self::Segment { type_id, .. } => type_id,
        }
    }
}

/// A template for one text or a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(Vec<Piece>);

impl Layout {
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The highest segment plus one.
    pub(super) fn segments(&self) -> usize {
        self.0.iter().map(Piece::type_id).max().map_or(0, |highest| highest as usize + 1)
    }

    pub(super) fn special_ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Special { id, .. } => Some(*id),
            Piece::Segment { .. } => None,
        })
    }
}

/// The templates for one text, and for a pair where the tokenizer has one.
pub(super) fn layouts(tokenizer: &Tokenizer) -> Result<(Layout, Option<Layout>), TokenizerError> {
    let refused = |reason: String| TokenizerError::PostProcessor { reason };
    if let Some(processor) = tokenizer.get_post_processor() {
        let value = serde_json::to_value(processor).map_err(|error| refused(error.to_string()))?;
        check(&value).map_err(refused)?;
    }
    let single = probe(tokenizer, false).map_err(|error| refused(error.to_string()))?;
    let pair = probe(tokenizer, true).map_err(|error| refused(error.to_string()))?;
    let far = |layout: &Layout| layout.0.iter().any(|piece| piece.type_id() > u32::from(u8::MAX));
    if far(&single) || far(&pair) {
        return Err(refused("it gives a type id above 255".to_string()));
    }
    // Each text exactly once: anything else would lose text or count it twice.
    let segments = |layout: &Layout| -> Vec<usize> {
        let indices = layout.0.iter().filter_map(|piece| match piece {
            Piece::Segment { index, .. } => Some(*index),
            Piece::Special { .. } => None,
        });
        let mut indices: Vec<usize> = indices.collect();
        indices.sort_unstable();
        indices
    };
    if segments(&single) != [0] {
        return Err(refused(
            "its template for one text must contain the text exactly once".to_string(),
        ));
    }
    let pair = (segments(&pair) == [0, 1]).then_some(pair);
    Ok((single, pair))
}

fn probe(tokenizer: &Tokenizer, pair: bool) -> tokenizers::Result<Layout> {
    // The type of the second text is given here because `encode_fast` leaves it 0, and BERT's
    // post-processor takes over what it finds.
    let encoding = |index: usize| {
        let token = Token::new(PROBES[index], "a".to_string(), (0, 1));
        Encoding::from_tokens(vec![token], index as u32)
    };
    let processed = tokenizer.post_process(encoding(0), pair.then(|| encoding(1)), true)?;
    let pieces = processed.get_ids().iter().zip(processed.get_type_ids());
    let pieces = pieces.map(|(&id, &type_id)| match PROBES.iter().position(|probe| *probe == id) {
        Some(index) => Piece::Segment { index, type_id },
        None => Piece::Special { id, type_id },
    });
    Ok(Layout(pieces.collect()))
}

/// Gives every token of a post-processor segment 0, for an encoder that is not told of segments.
pub(super) fn clear_segments(processor: &mut Value) {
    if !has_template(processor) {
        let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
        *processor = json!({
            "type": "TemplateProcessing", "single": [text("A")], "pair": [text("A"), text("B")],
            "special_tokens": {},
        });
        return;
    }
    clear(processor);
}

/// Whether a post-processor says where texts go; others leave each text the segment of its place.
fn has_template(processor: &Value) -> bool {
    match processor["type"].as_str() {
        None | Some("ByteLevel") => false,
        Some("Sequence") => {
            processor["processors"].as_array().is_some_and(|all| all.iter().any(has_template))
        }
        Some(_) => true,
    }
}

fn clear(processor: &mut Value) {
    for inner in processor["processors"].as_array_mut().into_iter().flatten() {
        clear(inner);
    }
    match processor["type"].as_str() {
        Some("TemplateProcessing") => {
            for template in ["single", "pair"] {
                for piece in processor[template].as_array_mut().into_iter().flatten() {
                    for part in
                        piece.as_object_mut().into_iter().flat_map(|piece| piece.values_mut())
                    {
                        part["type_id"] = 0.into();
                    }
                }
            }
        }
        // The same templates, with the segments that cannot be set there.
        Some("BertProcessing") => {
            let [cls, sep] = ["cls", "sep"].map(|key| processor[key].clone());
            let special =
                |token: &Value| json!({ "SpecialToken": { "id": token[0], "type_id": 0 } });
            let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
            let entry =
                |token: &Value| json!({ "id": token[0], "ids": [token[1]], "tokens": [token[0]] });
            let single = [special(&cls), text("A"), special(&sep)];
            let pair: Vec<Value> =
                single.iter().cloned().chain([text("B"), special(&sep)]).collect();
            let specials: Map<String, Value> = [&cls, &sep]
                .into_iter()
                .filter_map(|token| Some((token[0].as_str()?.to_owned(), entry(token))))
                .collect();
            *processor = json!({
                "type": "TemplateProcessing", "single": single, "pair": pair,
                "special_tokens": specials,
            });
        }
        _ => {}
    }
}

/// Refuses what `tokenizers` reads without complaint and then panics on.
fn check(processor: &Value) -> Result<(), String> {
    for inner in processor["processors"].as_array().into_iter().flatten() {
        check(inner)?;
    }
    if processor["type"] != "TemplateProcessing" {
        return Ok(());
    }
    let specials = &processor["special_tokens"];
    for (template, is_single) in [("single", true), ("pair", false)] {
        for piece in processor[template].as_array().into_iter().flatten() {
            if is_single && piece["Sequence"]["id"] == "B" {
                return Err("its template for one text needs a second text".to_string());
            }
            if let Some(id) = piece["SpecialToken"]["id"].as_str() {
                let special = &specials[id];
                let count = |key: &str| special[key].as_array().map(Vec::len);
                if count("ids").is_none() || count("ids") != count("tokens") {
                    return Err(format!("`special_tokens` has no usable entry for `{id}`"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer file with this post-processor.
    fn tokenizer(post_processor: &str) -> Tokenizer {
        format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
            "normalizer":null,"pre_tokenizer":null,"post_processor":{post_processor},
            "decoder":null,"model":{{"type":"WordLevel","vocab":{{"a":0}},"unk_token":"a"}}}}"#
        )
        .parse()
        .unwrap()
    }

    fn template(single: &str, pair: &str, specials: &str) -> String {
        format!(
            r#"{{"type":"TemplateProcessing","single":[{single}],"pair":[{pair}],
            "special_tokens":{{{specials}}}}}"#
        )
    }

    const A: &str = r#"{"Sequence":{"id":"A","type_id":0}}"#;
    const B: &str = r#"{"Sequence":{"id":"B","type_id":1}}"#;
    const END: &str = r#"{"SpecialToken":{"id":"end","type_id":1}}"#;

    #[test]
    fn a_template_is_read_off_with_types_and_tokens_of_several_ids() {
        let specials = r#""end":{"id":"end","ids":[7,8],"tokens":["x","y"]}"#;
        let json = template(&format!("{A},{END}"), &format!("{B},{END},{A}"), specials);
        let (single, pair) = layouts(&tokenizer(&json)).unwrap();
        let end = [Piece::Special { id: 7, type_id: 1 }, Piece::Special { id: 8, type_id: 1 }];
        let [first, second] = [0, 1].map(|i| Piece::Segment { index: i, type_id: i as u32 });
        assert_eq!(single.pieces(), [first, end[0], end[1]]);
        assert_eq!(pair.unwrap().pieces(), [second, end[0], end[1], first]);
        assert_eq!(single.special_ids().collect::<Vec<_>>(), [7, 8]);
        let nested = format!(r#"{{"type":"Sequence","processors":[{json}]}}"#);
        assert_eq!(layouts(&tokenizer(&nested)).unwrap().0, single);
    }

    #[test]
    fn a_template_that_would_panic_or_mislead_is_refused() {
        let uneven = r#""end":{"id":"end","ids":[7,8],"tokens":["x"]}"#;
        for json in [
            template(&format!("{A},{END}"), &format!("{A},{B}"), ""),
            template(&format!("{A},{END}"), &format!("{A},{B}"), uneven),
            template(&format!("{A},{B}"), &format!("{A},{B}"), ""),
            template(&format!("{A},{A}"), &format!("{A},{B}"), ""),
            template(&A.replace('0', "256"), &format!("{A},{B}"), ""),
        ] {
            let nested = format!(r#"{{"type":"Sequence","processors":[{json}]}}"#);
            for json in [json, nested] {
                let error = layouts(&tokenizer(&json)).unwrap_err();
                assert!(matches!(error, TokenizerError::PostProcessor { .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_pair_template_without_the_second_text_is_none() {
        assert_eq!(layouts(&tokenizer(&template(A, A, ""))).unwrap().1, None);
    }
}
