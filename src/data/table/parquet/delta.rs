//! Lists of numbers in the encoding `DELTA_BINARY_PACKED`: how many there are, and where they end. The
//! crate takes memory for as many as the list claims.

/// The count of a list, and what follows it; `None` where it is damaged or longer than `most`.
pub(super) fn list(bytes: &[u8], most: u64) -> Option<(u64, &[u8])> {
    let mut rest = bytes;
    let block = varint(&mut rest)?;
    let parts = varint(&mut rest)?;
    let count = varint(&mut rest)?;
    varint(&mut rest)?; // the first number
    let usual = block <= 1 << 20 && (1..=1024).contains(&parts) && block.is_multiple_of(parts);
    if !usual || count > most {
        return None;
    }
    let part = block / parts;
    if part == 0 {
        return None;
    }
    let mut left = count.saturating_sub(1);
    while left > 0 {
        varint(&mut rest)?; // the smallest difference
        let widths = rest.split_off(..parts as usize)?;
        for &width in widths {
            if left == 0 {
                break;
            }
            if width > 64 {
                return None;
            }
            let bytes = (u64::from(width) * part).div_ceil(8) as usize;
            match rest.split_off(..bytes) {
                Some(_) => left = left.saturating_sub(part),
                // The last part of a list need not be filled up.
                None if left <= part => return Some((count, &[])),
                None => return None,
            }
        }
    }
    Some((count, rest))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_its_blocks_do() {
        // 128 a block, 4 parts, 2 numbers, the first 10; one block: difference 0, widths, 32 bits of one.
        let bytes = [0x80, 1, 4, 2, 20, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x'];
        assert_eq!(list(&bytes, 2), Some((2, &b"x"[..])));
        assert_eq!(list(&bytes, 1), None, "more than may be");
        assert_eq!(list(&bytes[..12], 2), Some((2, &[][..])), "not filled up");
        assert_eq!(list(&bytes[..8], 2), None, "cut short");
        let none = [0x80, 1, 4, 0, 0, b'x'];
        assert_eq!(list(&none, 0), Some((0, &b"x"[..])));
    }

    #[test]
    fn claims_that_no_bytes_stand_behind_are_refused() {
        // Two thousand million numbers of no width.
        let claim = [0x80, 1, 4, 0x80, 0x80, 0x80, 0x80, 8, 0];
        assert_eq!(list(&claim, 1 << 22), None);
        // Numbers of more than 64 bits, and one number in parts of nothing.
        assert_eq!(list(&[0x80, 1, 4, 2, 0, 0, 65, 0, 0, 0], 10), None);
        assert_eq!(list(&[0, 4, 1, 0], 10), None);
        for bytes in [&[0x80_u8, 1, 0, 2, 0][..], &[0, 0, 2, 0], &[0x80, 1, 3, 2, 0], &[0xff; 12]] {
            assert_eq!(list(bytes, 10), None, "{bytes:?}");
        }
    }
}
