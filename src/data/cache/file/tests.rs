//! Files whose hash is right and whose numbers are not: each number is checked by itself.

use super::*;

const EXPECTED: Expected = Expected { rows: 2, max_length: 4, vocabulary: 10 };

/// Two rows of pairs, changed before their hash is taken, as the reader finds them.
fn read(change: impl Fn(&mut Builder)) -> Result<Tokens, String> {
    let mut builder = Builder::new(EXPECTED);
    for (ids, full_length) in [(vec![2, 5, 3], 3), (vec![2, 3], 6)] {
        let type_ids = (0..ids.len() as u32).map(|place| place.min(1)).collect();
        builder.push(&Encoded { ids, type_ids, full_length });
    }
    change(&mut builder);
    Tokens::check(Content::Memory(builder.to_bytes()), EXPECTED, Origin::Found)
}

fn put(offsets: &mut [u8], place: usize, offset: u64) {
    offsets[8 * place..8 * place + 8].copy_from_slice(&offset.to_le_bytes());
}

#[test]
fn every_number_of_a_cache_is_checked_although_its_hash_is_right() {
    let whole = read(|_| ()).unwrap();
    assert_eq!((whole.rows(), whole.truncated(), whole.get(0).ids()), (2, 1, vec![2, 5, 3]));
    type Change = fn(&mut Builder);
    let changes: [(Change, &str); 10] = [
        (|builder| builder.tokens[2] = 10, "token id 10 in a vocabulary of 10"),
        (|builder| put(&mut builder.offsets, 0, 1), "do not span"),
        (|builder| put(&mut builder.offsets, 2, 4), "do not span"),
        (|builder| put(&mut builder.offsets, 1, 9), "row 0 reaches from token 0 to 9"),
        (|builder| put(&mut builder.offsets, 1, u64::MAX), "row 0 reaches"),
        // Longer than a row may be, and inside of the tokens.
        (|builder| put(&mut builder.offsets, 1, 5), "row 0 reaches from token 0 to 5"),
        (|builder| builder.full_lengths[0] = 2, "row 0 has more tokens than before"),
        (|builder| builder.type_ids.push(0), "6 segments for 5 tokens"),
        (|builder| builder.full_lengths.extend([3, 0, 0, 0]), "3 rows instead of 2"),
        (|builder| builder.offsets.extend([5, 0, 0, 0, 0, 0, 0, 0]), "rows instead of 2"),
    ];
    for (change, words) in changes {
        let reason = read(change).unwrap_err();
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

#[test]
fn one_bit_of_a_cache_is_enough_to_refuse_it() {
    let mut builder = Builder::new(EXPECTED);
    builder.push(&Encoded { ids: vec![2, 4, 3], type_ids: vec![0; 3], full_length: 3 });
    let expected = Expected { rows: 1, ..EXPECTED };
    let bytes = builder.to_bytes();
    let place = bytes.windows(6).position(|six| six == [2, 0, 4, 0, 3, 0]).unwrap();
    let mut flipped = bytes.clone();
    // Another token of the vocabulary.
    flipped[place + 2] ^= 1;
    let check = |bytes| Tokens::check(Content::Memory(bytes), expected, Origin::Found);
    assert_eq!(check(bytes).unwrap().get(0).ids(), [2, 4, 3]);
    assert!(check(flipped).unwrap_err().contains("have changed since it was written"));
}
