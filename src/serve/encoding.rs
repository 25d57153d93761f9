//! Bodies that were packed on their way.

use std::io::Read;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;

use super::body::malformed;
use super::problem::Problem;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// What the headers say; a way that is not known here is refused.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut found = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| Problem::UnsupportedEncoding)?;
            for name in value.split(',').map(|name| name.trim().to_ascii_lowercase()) {
                match (name.as_str(), found) {
                    ("" | "identity", _) => {}
                    ("gzip" | "x-gzip", Self::Identity) => found = Self::Gzip,
                    // Packed twice, or otherwise.
                    _ => return Err(Problem::UnsupportedEncoding),
                }
            }
        }
        Ok(found)
    }

    /// The body as it was packed; `most` bytes of it, wherever they come from.
    pub fn unpacked(self, body: Bytes, most: usize) -> Result<Bytes, Problem> {
        if self == Self::Identity {
            return Ok(body);
        }
        let mut bytes = Vec::new();
        let mut decoder = MultiGzDecoder::new(&*body).take(most as u64 + 1);
        decoder
            .read_to_end(&mut bytes)
            .map_err(|error| malformed(0, &format!("the body is not gzip: {error}")))?;
        if bytes.len() > most {
            return Err(Problem::PayloadTooLarge(most));
        }
        Ok(bytes.into())
    }
}

/// Whether an answer may be packed by gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let values = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut ways = values.map(|way| way.split_once(';').unwrap_or((way, "")));
    let refused = |weight: &str| {
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        weight.parse::<f64>().is_ok_and(|weight| weight <= 0.0)
    };
    ways.any(|(way, weight)| way.trim().eq_ignore_ascii_case("gzip") && !refused(weight))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn of(values: &[&str]) -> Result<Encoding, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        Encoding::of(&headers)
    }

    fn packed(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn an_answer_is_packed_for_whoever_says_so() {
        for (said, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip; q=0", false),
            ("gzip;q=0.0, br", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, said.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), takes, "{said}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn gzip_is_known_by_both_names_and_nothing_else_is() {
        for values in [&[][..], &["identity"], &[""]] {
            assert_eq!(of(values), Ok(Encoding::Identity), "{values:?}");
        }
        for values in [&["gzip"][..], &["x-gzip"], &["GZIP"], &["identity, gzip"]] {
            assert_eq!(of(values), Ok(Encoding::Gzip), "{values:?}");
        }
        for values in [&["br"][..], &["deflate"], &["zstd"], &["gzip, gzip"], &["gzip", "gzip"]] {
            assert_eq!(of(values), Err(Problem::UnsupportedEncoding), "{values:?}");
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_up_to_the_limit_and_a_bomb_is_too_large() {
        let text = br#"{"text": "fine"}"#;
        let unpack = |body: Bytes, most| Encoding::Gzip.unpacked(body, most);
        assert_eq!(unpack(packed(text), text.len()).unwrap(), &text[..]);
        assert_eq!(unpack(packed(text), text.len() - 1), Err(Problem::PayloadTooLarge(15)));
        let bomb = packed(&vec![b' '; 50 << 20]);
        assert!(bomb.len() < 60_000);
        assert_eq!(unpack(bomb, 1000), Err(Problem::PayloadTooLarge(1000)));
        // Two members, one after the other, are one body.
        let both = [packed(&text[..5]), packed(&text[5..])].concat();
        assert_eq!(unpack(both.into(), 1000).unwrap(), &text[..]);
        let cut = packed(text);
        for damaged in [cut.slice(..cut.len() - 3), Bytes::from_static(text), Bytes::new()] {
            let refused = unpack(damaged.clone(), 1000);
            assert!(matches!(refused, Err(Problem::MalformedJson(_))), "{damaged:?}: {refused:?}");
        }
    }
}
