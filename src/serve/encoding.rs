//! Bodies that were packed on their way.

use std::io::Read;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::body::malformed;
use super::problem::Problem;

/// What is unpacked, as `Accept-Encoding` has it.
const KNOWN: &str = "gzip, deflate, zstd";

/// The largest window of zstd, as a power of two, that HTTP allows (RFC 9659).
const WINDOW: u32 = 23;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    /// In the format of zlib, as HTTP means it.
    Deflate,
    Zstd,
}

impl Encoding {
    /// What the headers say; a way that is not known here is refused.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut found = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| Problem::UnsupportedEncoding(KNOWN))?;
            for name in value.split(',').map(|name| name.trim().to_ascii_lowercase()) {
                match (name.as_str(), found) {
                    ("" | "identity", _) => {}
                    ("gzip" | "x-gzip", Self::Identity) => found = Self::Gzip,
                    ("deflate", Self::Identity) => found = Self::Deflate,
                    ("zstd", Self::Identity) => found = Self::Zstd,
                    // Packed twice, or otherwise.
                    _ => return Err(Problem::UnsupportedEncoding(KNOWN)),
                }
            }
        }
        Ok(found)
    }

    /// The body as it was packed; `most` bytes of it, wherever they come from.
    pub fn unpacked(self, body: Bytes, most: usize) -> Result<Bytes, Problem> {
        let wrong = |error| malformed(0, &format!("the body is not {}: {error}", self.name()));
        let packed: Box<dyn Read + '_> = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => Box::new(MultiGzDecoder::new(&*body)),
            Self::Deflate => Box::new(ZlibDecoder::new(&*body)),
            Self::Zstd => Box::new(zstd_decoder(&body).map_err(wrong)?),
        };
        let mut bytes = Vec::new();
        packed.take(most as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
        if bytes.len() > most {
            return Err(Problem::PayloadTooLarge(most));
        }
        Ok(bytes.into())
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

fn zstd_decoder(packed: &[u8]) -> std::io::Result<zstd::stream::read::Decoder<'_, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
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
    fn what_clients_pack_by_is_known_and_nothing_else_is() {
        for values in [&[][..], &["identity"], &[""]] {
            assert_eq!(of(values), Ok(Encoding::Identity), "{values:?}");
        }
        for values in [&["gzip"][..], &["x-gzip"], &["GZIP"], &["identity, gzip"]] {
            assert_eq!(of(values), Ok(Encoding::Gzip), "{values:?}");
        }
        assert_eq!(of(&["Deflate"]), Ok(Encoding::Deflate));
        assert_eq!(of(&["zstd"]), Ok(Encoding::Zstd));
        for values in [&["br"][..], &["compress"], &["gzip, gzip"], &["gzip", "zstd"]] {
            assert_eq!(of(values), Err(Problem::UnsupportedEncoding(KNOWN)), "{values:?}");
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

    #[test]
    fn deflate_and_zstd_are_unpacked_within_the_same_limit() {
        let text = br#"{"text": "fine"}"#;
        let deflated = |bytes: &[u8]| {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 19).unwrap();
        let spaces = vec![b' '; 50 << 20];
        for (way, small, bomb) in [
            (Encoding::Deflate, deflated(text), deflated(&spaces)),
            (Encoding::Zstd, zstd(text), zstd(&spaces)),
        ] {
            assert_eq!(way.unpacked(small.clone().into(), text.len()).unwrap(), &text[..]);
            assert_eq!(way.unpacked(bomb.into(), 1000), Err(Problem::PayloadTooLarge(1000)));
            let other = way.unpacked(Bytes::from_static(text), 1000);
            assert!(matches!(other, Err(Problem::MalformedJson(_))), "{way:?}: {other:?}");
        }
        let cut = zstd(text);
        let cut = Encoding::Zstd.unpacked(Bytes::from(cut[..cut.len() - 3].to_vec()), 1000);
        assert!(matches!(cut, Err(Problem::MalformedJson(_))), "{cut:?}");
        // A frame may ask for a window of any size; HTTP allows 8 MiB.
        let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(27).unwrap();
        wide.write_all(text).unwrap();
        let wide = Encoding::Zstd.unpacked(wide.finish().unwrap().into(), 1000);
        assert!(matches!(wide, Err(Problem::MalformedJson(_))), "{wide:?}");
    }
}
