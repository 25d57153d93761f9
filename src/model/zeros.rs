//! Zeros in weights where no training leaves them: what a download that broke off, or a disk, puts into a file whose
//! length is right.
//!
//! Zeros that are meant are left alone: biases, embeddings of segments (RoBERTa has none), whole rows (padding,
//! tokens and heads that were pruned), and matrices with zeros everywhere (sparse ones).

use super::layout::Part;

/// Fewer zeros than these in a row of a matrix are no piece of a file.
const PIECE: usize = 256;
/// The same in a gain, of which none is zero.
const PIECE_OF_GAIN: usize = 16;

/// What a person should know of the values of these tensors.
pub(super) fn remark<'a>(tensors: impl Iterator<Item = (&'a Part, &'a [f32])>) -> Option<String> {
    let mut lost = tensors.filter(|(part, values)| is_lost(part, values));
    let (first, _) = lost.next()?;
    let (name, others) = (&first.name, lost.count());
    let which = match others {
        0 => format!("`{name}` is"),
        others => format!("`{name}` and {others} more of its tensors are"),
    };
    Some(format!(
        "{which} zero, whole or in a long piece, where no training leaves zeros: the file looks damaged, as by \
         a download that broke off; compare its SHA-256 with that of its source, or get it again"
    ))
}

fn is_lost(part: &Part, values: &[f32]) -> bool {
    if !part.name.ends_with(".weight") || part.name.contains("token_type_embeddings") {
        return false;
    }
    if values.iter().all(|&value| value == 0.0) {
        return true;
    }
    match part.shape.as_slice() {
        [_] => pieces(values, PIECE_OF_GAIN).next().is_some(),
        [rows, ..] => has_piece(values, *rows),
        [] => false,
    }
}

/// Whether there are zeros that begin or end inside a row, in a matrix that is not sparse.
fn has_piece(values: &[f32], rows: usize) -> bool {
    let width = values.len() / rows.max(1);
    if width == 0 {
        return false;
    }
    let (mut inside, mut together) = (0, 0);
    for (start, end) in pieces(values, PIECE) {
        together += end - start;
        inside += usize::from(!start.is_multiple_of(width) || !end.is_multiple_of(width));
    }
    if inside == 0 || inside * 2 > rows {
        return false;
    }
    let zeros = values.iter().filter(|&&value| value == 0.0).count();
    (zeros - together) * 100 <= values.len()
}

/// Beginning and end of all zeros behind one another that are at least so many.
fn pieces(values: &[f32], least: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < values.len() {
            let Some(start) = values[at..].iter().position(|&value| value == 0.0) else { break };
            let start = at + start;
            let length = values[start..].iter().position(|&value| value != 0.0);
            at = length.map_or(values.len(), |length| start + length);
            if at - start >= least {
                return Some((start, at));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(name: &str, shape: &[usize], zeros: &[(usize, usize)]) -> bool {
        let part = Part { name: format!("{name}.weight"), shape: shape.to_vec() };
        let mut values = vec![0.5; shape.iter().product()];
        zeros.iter().for_each(|&(start, end)| values[start..end].fill(0.0));
        remark([(&part, values.as_slice())].into_iter()).is_some()
    }

    #[test]
    fn pieces_of_zeros_are_told() {
        assert!(lost("classifier", &[3, 8], &[(0, 24)]));
        assert!(lost("norm", &[32], &[(0, 32)]));
        assert!(lost("norm", &[32], &[(10, 26)]));
        for width in [100, 768] {
            let shape = [200, width];
            assert!(lost("words", &shape, &[(1010, 1266)]), "{width}");
            assert!(lost("words", &shape, &[(1010, 9000)]), "{width}");
            assert!(lost("words", &shape, &[(200 * width - 550, 200 * width)]), "{width}");
            assert!(lost("words", &shape, &[(0, width), (1010, 9000)]), "{width}");
        }
        assert!(lost("convolution", &[200, 10, 3], &[(1010, 1300)]));
    }

    #[test]
    fn zeros_that_are_meant_are_not() {
        assert!(!lost("norm", &[32], &[(3, 5)]));
        assert!(!lost("token_type_embeddings", &[2, 32], &[(0, 64)]));
        let shape = [200, 768];
        assert!(!lost("words", &shape, &[]));
        // Padding, and rows that were pruned or never used.
        assert!(!lost("words", &shape, &[(0, 768)]));
        assert!(!lost("words", &shape, &[(768, 7680), (190 * 768, 200 * 768)]));
        // Columns of heads that were pruned.
        let columns: Vec<_> = (0..200).map(|row| (row * 768 + 64, row * 768 + 448)).collect();
        assert!(!lost("dense", &shape, &columns));
        // Sparse ones.
        let sparse: Vec<_> =
            (0..38_400).map(|one| (one * 4, one * 4 + 3)).chain([(5, 400)]).collect();
        assert!(!lost("dense", &shape, &sparse));
        let part = Part { name: "dense.bias".to_owned(), shape: vec![32] };
        assert!(remark([(&part, [0.0; 32].as_slice())].into_iter()).is_none());
    }
}
