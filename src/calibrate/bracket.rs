//! The minimum of a function of one number, ln T: downhill to three places around it, then the parabola through
//! them, or the golden section.

use super::temperature::HIGHEST;

/// Three places around a local minimum, and the values there.
pub(super) struct Bracket {
    place: [f64; 3],
    value: [f64; 3],
}

impl Bracket {
    /// From `start` downhill in steps of a quarter until it rises, not below `lowest`.
    pub(super) fn find(f: impl Fn(f64) -> f64, start: f64, lowest: f64) -> Self {
        const STEP: f64 = 0.25;
        let inside = |x: f64| x.clamp(lowest, HIGHEST);
        let place = [inside(start - STEP), start, inside(start + STEP)];
        let Self {
            place: [mut low, mut middle, mut high],
            value: [mut f_low, mut f_middle, mut f_high],
        } = Self { place, value: place.map(&f) };
        while f_low < f_middle && low > lowest {
            (high, middle, low) = (middle, low, inside(low - STEP));
            (f_high, f_middle, f_low) = (f_middle, f_low, f(low));
        }
        while f_high < f_middle && high < HIGHEST {
            (low, middle, high) = (middle, high, inside(high + STEP));
            (f_low, f_middle, f_high) = (f_middle, f_high, f(high));
        }
        Self { place: [low, middle, high], value: [f_low, f_middle, f_high] }
    }

    /// The place and value of the minimum of the parabola through the three, or the best of them.
    pub(super) fn vertex(&self, f: impl Fn(f64) -> f64) -> (f64, f64) {
        let Self { place: [low, middle, high], value: [f_low, f_middle, f_high] } = *self;
        let (left, right) =
            ((middle - low) * (f_middle - f_high), (middle - high) * (f_middle - f_low));
        let vertex =
            middle - 0.5 * ((middle - low) * left - (middle - high) * right) / (left - right);
        let best = (0..3).min_by(|&a, &b| self.value[a].total_cmp(&self.value[b])).expect("three");
        let best = (self.place[best], self.value[best]);
        if !(low < vertex && vertex < high) {
            return best;
        }
        let found = (vertex, f(vertex));
        if found.1 < best.1 { found } else { best }
    }

    /// The same to a tolerance, by the golden section.
    pub(super) fn minimum(&self, f: impl Fn(f64) -> f64, tolerance: f64) -> f64 {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let [mut low, _, mut high] = self.place;
        let mut inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
        let mut value = inner.map(&f);
        while high - low > tolerance {
            if value[0] < value[1] {
                high = inner[1];
                inner = [high - GOLDEN * (high - low), inner[0]];
                value = [f(inner[0]), value[0]];
            } else {
                low = inner[0];
                inner = [inner[1], low + GOLDEN * (high - low)];
                value = [value[1], f(inner[1])];
            }
        }
        if value[0] < value[1] { inner[0] } else { inner[1] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::temperature::LOWEST;
    use super::*;

    #[test]
    fn a_minimum_is_found_from_either_side_and_at_the_bounds() {
        for start in [-3.0, 0.0, 1.0, 2.5] {
            let square = |x: f64| (x - 1.234).powi(2) + 5.0;
            let bracket = Bracket::find(square, start, LOWEST);
            let place = bracket.minimum(square, 1e-6);
            assert!((place - 1.234).abs() < 1e-5, "{place}");
            let (place, value) = bracket.vertex(square);
            assert!((place - 1.234).abs() < 1e-9 && (value - 5.0).abs() < 1e-9, "{place}");
            for (line, bound) in [(1.0, LOWEST), (-1.0, HIGHEST)] {
                let line = |x: f64| line * x;
                let bracket = Bracket::find(line, start, LOWEST);
                assert!((bracket.minimum(line, 1e-6) - bound).abs() < 1e-4);
                assert_eq!(bracket.vertex(line), (bound, line(bound)));
            }
        }
    }
}
