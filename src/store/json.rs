//! JSON in which a key stands twice: a parser keeps the last one without a word.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Parses JSON; no object in it may have a key twice.
///
/// # Errors
/// It is not JSON of this type, or a key repeats; the message says where.
pub fn from_json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let parsed = serde_json::from_slice(bytes)?;
    Once.deserialize(&mut serde_json::Deserializer::from_slice(bytes))?;
    Ok(parsed)
}

/// Walks over a value, every key of an object once.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` occurs twice")));
            }
            seen.insert(key);
            map.next_value_seed(Once)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Once)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth_with_its_line() {
        let read = |text: &str| from_json::<Value>(text.as_bytes()).map_err(|e| e.to_string());
        let fine = r#"{"a": [1, -2, 0.5, "x", null, true, {"a": 1}], "b": {"a": {}}}"#;
        let expected = json!({"a": [1, -2, 0.5, "x", null, true, {"a": 1}], "b": {"a": {}}});
        assert_eq!(read(fine).unwrap(), expected);
        for twice in ["{\"a\": 1,\n\"a\": 1}", "[\n{\"a\": 1, \"b\": 2, \"\\u0061\": 3}]"] {
            let message = read(twice).unwrap_err();
            assert!(message.starts_with("the key `a` occurs twice at line 2"), "{message}");
        }
        assert!(read("{\"b\": {\"id\":\n {\"x\": 1, \"x\": 2}}}").unwrap_err().contains("`x`"));
        assert!(read("{").is_err());
    }
}
