//! The wire format of protocol buffers (<https://protobuf.dev/programming-guides/encoding/>), as far
//! as a SentencePiece model needs it.
//!
//! A field is a slice of the input: whatever a file claims, reading it takes no memory. A crate would
//! bring a compiler of schemas for the dozen fields that are read.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number; negative ones have their 64 bits of two's complement.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes, such as those of an f32.
    Four([u8; 4]),
    /// Eight bytes. Nothing that is read has them.
    Eight,
}

/// The fields of a message, one after another: their numbers and values. Nothing follows an error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// Why a message cannot be read.
type Failure = &'static str;

const CUT: Failure = "it ends in the middle of a field";

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8], Failure> {
        let bytes = usize::try_from(bytes).map_err(|_| CUT)?;
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Seven bits a byte, the lowest first; ten bytes at most.
    fn number(&mut self) -> Result<u64, Failure> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 127);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err("it has a number of more than 64 bits")
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Failure> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => {
                self.take(8)?;
                Value::Eight
            }
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Four(self.take(4)?.try_into().map_err(|_| CUT)?),
            _ => return Err("it has a field of a kind that no SentencePiece model has"),
        };
        match key >> 3 {
            0 => Err("it has a field with the number 0"),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Failure> {
        Fields::of(message).collect()
    }

    #[test]
    fn every_kind_of_field_is_read() {
        // The examples of the specification: 150, "testing"; -2 takes ten bytes.
        let minus_two = [&[0x10, 0xfe][..], &[0xff; 8], &[0x01]].concat();
        let message =
            [&[0x08, 0x96, 0x01, 0x12, 0x07][..], b"testing", &minus_two, &[0x1d, 0, 0, 128, 63]]
                .concat();
        let expected = [
            (1, Value::Number(150)),
            (2, Value::Bytes(b"testing")),
            (2, Value::Number(-2_i64 as u64)),
            (3, Value::Four(1_f32.to_le_bytes())),
        ];
        assert_eq!(all(&message).unwrap(), expected);
        assert_eq!(all(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap(), [(1, Value::Eight)]);
        assert_eq!(all(&[]).unwrap(), []);
    }

    #[test]
    fn what_is_cut_or_claims_too_much_is_an_error_and_the_end() {
        let endless = [0xff; 20];
        let beyond = [&[0x08][..], &[0xff; 9], &[0x02]].concat();
        for (message, words) in [
            (&[0x08][..], CUT),
            (&[0x12, 0x7f, 1], CUT),
            (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], CUT),
            (&[0x1d, 0, 0], CUT),
            (&[0x09, 0, 0], CUT),
            (&endless, "64 bits"),
            (&beyond, "64 bits"),
            (&[0x0b], "kind"),
            (&[0x0c], "kind"),
            (&[0x0f], "kind"),
            (&[0x00, 0x00], "number 0"),
        ] {
            let mut fields = Fields::of(message);
            let error = fields.next().unwrap().unwrap_err();
            assert!(error.contains(words), "{message:?}: {error}");
            assert_eq!(fields.next(), None);
        }
    }
}
