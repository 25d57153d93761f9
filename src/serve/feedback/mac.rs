//! HMAC-SHA-256 (RFC 2104, FIPS 198-1), by which a server knows its own words again.
//!
//! It is a dozen lines on the SHA-256 that is here already, tested by the vectors of RFC 4231; the crate would bring
//! three more.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Bytes of a tag that are sent: 128 bits, as RFC 2104 (section 5) allows.
pub const TAG: usize = 16;

/// A secret, as the two states that every message begins with.
#[derive(Clone)]
pub struct Secret {
    inner: Sha256,
    outer: Sha256,
}

impl Secret {
    /// Of any length; a key longer than a block is hashed first.
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let [inner, outer] =
            [0x36u8, 0x5c].map(|pad| Sha256::new_with_prefix(block.map(|byte| byte ^ pad)));
        Self { inner, outer }
    }

    /// The whole tag of a message that is put together from parts.
    fn whole(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }

    /// The first bytes of the tag.
    pub fn tag<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let whole = self.whole(parts);
        std::array::from_fn(|place| whole[place])
    }

    /// Whether that is the tag, in a time that does not tell how much of it was right.
    pub fn is_tag<const N: usize>(&self, parts: &[&[u8]], given: &[u8; N]) -> bool {
        self.tag::<N>(parts).ct_eq(given).into()
    }
}

/// Secrets are not shown.
impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1, 2, 3, 6 and 7.
    #[test]
    fn tags_are_those_of_rfc_4231() {
        let long = [0xaa; 131];
        let cases: [(&[u8], &[u8], &str); 5] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long,
                b"This is a test using a larger than block-size key and a larger than block-size data. The \
                  key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, message, expected) in cases {
            let secret = Secret::new(key);
            let found: String =
                secret.whole(&[message]).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, expected);
            let (one, other) = message.split_at(message.len() / 2);
            let tag: [u8; TAG] = secret.tag(&[one, other]);
            assert!(secret.is_tag(&[message], &tag));
            let mut wrong = tag;
            wrong[TAG - 1] ^= 1;
            assert!(!secret.is_tag(&[message], &wrong));
        }
    }
}
