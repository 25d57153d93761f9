//! The places of numbers on a fixed grid: 65,536 of them, in the order of the numbers.
//!
//! A number is cut to the upper half of its f32: sign, exponent and seven more bits. Which place a number has depends
//! on nothing but itself.

pub const CELLS: usize = 1 << 16;

/// The place of a number.
pub fn cell(value: f64) -> u16 {
    // Both zeros are one.
    let bits = (value as f32 + 0.0).to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ordered >> 16) as u16
}

/// The number of a place that is nearest to zero.
pub fn value(cell: u16) -> f32 {
    let ordered = u32::from(cell) << 16;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered & 0xffff_0000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_the_order_of_their_numbers() {
        let numbers = [-1e9, -2.5, -1.0, -1e-9, 0.0, 1e-9, 0.25, 0.26, 1.0, 2.0, 255.0, 256.0, 1e9];
        let cells: Vec<u16> = numbers.iter().map(|&number| cell(number)).collect();
        assert!(cells.is_sorted_by(|a, b| a < b), "{cells:?}");
        assert_eq!(cell(-0.0), cell(0.0));
        for number in numbers {
            let back = f64::from(value(cell(number)));
            assert_eq!(cell(back), cell(number));
            assert!((back - number).abs() <= number.abs() / 128.0, "{number} and {back}");
        }
    }
}
