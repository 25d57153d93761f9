//! Small pictures as PNG.

use image::codecs::png::PngEncoder;
use image::{ColorType, ImageError};

use crate::metrics::Bin;

/// Width and height of the reliability diagram.
const SIDE: usize = 360;
/// White space around it.
const MARGIN: usize = 20;

/// A picture of three bytes a pixel, row by row from the top.
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pixels: Vec<u8>,
}

impl Picture {
    fn white(width: usize, height: usize) -> Self {
        let pixels = vec![255; width * height * 3];
        Self { width: width as u32, height: height as u32, pixels }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let place = (y * self.width as usize + x) * 3;
        self.pixels[place..place + 3].copy_from_slice(&colour);
    }

    pub fn png(&self) -> Result<Vec<u8>, ImageError> {
        let mut png = Vec::new();
        PngEncoder::new(&mut png).encode(&self.pixels, self.width, self.height, ColorType::Rgb8)?;
        Ok(png)
    }
}

/// Weights `[s, t]` from white, 0, to dark blue, the largest, each a square of some pixels.
pub fn heat_map(weight_st: &[f32], length: usize) -> Picture {
    let scale = (240 / length.max(1)).max(1);
    let mut picture = Picture::white(length * scale, length * scale);
    let most = weight_st.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    for y in 0..length * scale {
        for x in 0..length * scale {
            let share = weight_st[(y / scale) * length + x / scale] / most;
            let fade = |end: f32| (255.0 - share * (255.0 - end)) as u8;
            picture.set(x, y, [fade(8.0), fade(48.0), fade(107.0)]);
        }
    }
    picture
}

/// Accuracy over confidence: a bar for each bin that has rows, its 95 % interval as a line, and the
/// diagonal of perfect calibration.
pub fn reliability(bins: &[Bin]) -> Picture {
    let inner = SIDE - 2 * MARGIN;
    let mut picture = Picture::white(SIDE, SIDE);
    let down = |share: f64| MARGIN + ((1.0 - share.clamp(0.0, 1.0)) * (inner - 1) as f64) as usize;
    for (index, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let left = MARGIN + index * inner / bins.len();
        let right = MARGIN + (index + 1) * inner / bins.len();
        for x in left + 1..right {
            for y in down(bin.accuracy)..down(0.0) {
                picture.set(x, y, [107, 142, 190]);
            }
        }
        for y in down(bin.high)..=down(bin.low) {
            picture.set((left + right) / 2, y, [20, 40, 80]);
        }
    }
    for step in 0..inner {
        let share = step as f64 / (inner - 1) as f64;
        picture.set(MARGIN + step, down(share), [200, 40, 40]);
        for (x, y) in [
            (MARGIN + step, MARGIN),
            (MARGIN + step, SIDE - MARGIN),
            (MARGIN, MARGIN + step),
            (SIDE - MARGIN, MARGIN + step),
        ] {
            picture.set(x, y, [0, 0, 0]);
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_pngs_that_show_the_numbers() {
        let picture = heat_map(&[0.0, 1.0, 0.5, 0.5], 2);
        assert_eq!((picture.width, picture.height), (240, 240));
        assert_eq!(picture.pixels[..3], [255, 255, 255]);
        assert_eq!(picture.pixels[(239 * 3)..(240 * 3)], [8, 48, 107]);
        assert!(picture.png().unwrap().starts_with(b"\x89PNG"));
        let full = Bin { count: 9, mean_confidence: 0.9, accuracy: 1.0, low: 0.8, high: 1.0 };
        let empty = Bin { count: 0, mean_confidence: 0.0, accuracy: 0.0, low: 0.0, high: 1.0 };
        let picture = reliability(&[empty, full]);
        let bar = picture.pixels.chunks(3).filter(|pixel| *pixel == [107, 142, 190]).count();
        assert!((40_000..52_000).contains(&bar), "half of 320 x 320: {bar}");
    }
}
