//! API keys.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The keys, as hashes: of equal length, and of no use to whoever reads our memory.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Of these keys.
    pub fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| Sha256::digest(key.as_bytes()).into()).collect())
    }

    /// Whether a key is asked for at all.
    pub fn required(&self) -> bool {
        !self.0.is_empty()
    }

    /// The place of the key that a request carries. All keys are compared, in a time that does not
    /// tell how much of one was right.
    pub fn find(&self, headers: &HeaderMap) -> Option<usize> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let plain = || headers.get("x-api-key").and_then(|value| value.to_str().ok());
        let given: [u8; 32] = Sha256::digest(bearer.or_else(plain)?.as_bytes()).into();
        let mut found = None;
        for (place, key) in self.0.iter().enumerate() {
            if bool::from(key.ct_eq(&given)) {
                found = Some(place);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_either_header() {
        let keys = Keys::new(&["alpha".to_owned(), "beta".to_owned()]);
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            keys.find(&headers)
        };
        assert_eq!(with("authorization", "Bearer beta"), Some(1));
        assert_eq!(with("authorization", "bearer  alpha"), Some(0));
        assert_eq!(with("x-api-key", "alpha"), Some(0));
        for (name, value) in
            [("x-api-key", "alph"), ("authorization", "Basic alpha"), ("cookie", "alpha")]
        {
            assert_eq!(with(name, value), None, "{name}: {value}");
        }
    }
}
