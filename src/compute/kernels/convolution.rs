//! What a convolution over tokens multiplies: for each token the features of a window around it, so that the
//! rest is a matrix product.

use std::ops::Range;

use rayon::prelude::*;

/// Lines a task.
const LINES: usize = 64;

/// A window over the tokens of each sequence, and the features that are read.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The sequence of each token: its begin and its end.
    pub sequences: &'a [Range<usize>],
    /// Width of a line of all features, `d`.
    pub width: usize,
    /// The first feature that is read, and how many.
    pub first: usize,
    pub inputs: usize,
    /// Tokens of a window, an odd number: it has a middle.
    pub size: usize,
}

impl Window<'_> {
    /// `[p, inputs · size]` from `x`, `[p, d]`: zeros beyond the ends of a sequence.
    pub fn patches(self, x: &[f32], patches: &mut Vec<f32>) {
        let wide = self.inputs * self.size;
        patches.clear();
        patches.resize(self.sequences.len() * wide, 0.0);
        patches.par_chunks_mut(LINES * wide).enumerate().for_each(|(block, lines)| {
            for (token, line) in (block * LINES..).zip(lines.chunks_exact_mut(wide)) {
                for (place, other) in self.around(token) {
                    let from = &x[other * self.width + self.first..][..self.inputs];
                    let places = line[place..].iter_mut().step_by(self.size);
                    places.zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        });
    }

    /// Adds the gradient of the patches to that of `x`.
    pub fn add_patches(self, patches: &[f32], gradient: &mut [f32]) {
        let (wide, width) = (self.inputs * self.size, self.width);
        gradient.par_chunks_mut(LINES * width).enumerate().for_each(|(block, lines)| {
            for (token, line) in (block * LINES..).zip(lines.chunks_exact_mut(width)) {
                let own = &mut line[self.first..self.first + self.inputs];
                // The windows around others that hold this token: it stands on the other side of their middle.
                for (place, other) in self.around(token) {
                    let from = patches[other * wide + self.size - 1 - place..].iter();
                    own.iter_mut().zip(from.step_by(self.size)).for_each(|(to, from)| *to += from);
                }
            }
        });
    }

    /// Places of the window around a token, and the tokens that stand there.
    fn around(self, token: usize) -> impl Iterator<Item = (usize, usize)> {
        let (own, edge) = (self.sequences[token].clone(), self.size / 2);
        (0..self.size).filter_map(move |place| {
            let other = (token + place).checked_sub(edge)?;
            own.contains(&other).then_some((place, other))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_hold_the_neighbours_and_give_their_gradients_back() {
        let window =
            Window { sequences: &[0..2, 0..2, 2..3], width: 3, first: 1, inputs: 2, size: 3 };
        let x = [9.0, 1.0, 2.0, 9.0, 3.0, 4.0, 9.0, 5.0, 6.0];
        let mut patches = Vec::new();
        window.patches(&x, &mut patches);
        assert_eq!(patches[..6], [0.0, 1.0, 3.0, 0.0, 2.0, 4.0]);
        assert_eq!(patches[6..12], [1.0, 3.0, 0.0, 2.0, 4.0, 0.0]);
        assert_eq!(patches[12..], [0.0, 5.0, 0.0, 0.0, 6.0, 0.0]);
        // Adjoint: <patches(x), g> = <x, add_patches(g)>.
        let g: Vec<f32> = (0..18).map(|place| (place * place % 7) as f32).collect();
        let mut gradient = vec![0.0; 9];
        window.add_patches(&g, &mut gradient);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert_eq!(dot(&patches, &g), dot(&x, &gradient));
        assert_eq!([gradient[0], gradient[3], gradient[6]], [0.0; 3]);
    }
}
