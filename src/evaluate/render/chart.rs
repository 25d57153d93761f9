//! Charts as inline SVG. Colours come from the page's style sheet, so they follow light and dark.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::{Histogram, Selective};
use crate::metrics::Bin;
use crate::numbers::counted;

/// The drawing, and the area of the data in it.
const SIZE: (f64, f64) = (480.0, 320.0);
const LEFT: f64 = 60.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// A chart with axes from a lowest to a highest value.
struct Chart {
    body: String,
    x: (f64, f64),
    y: (f64, f64),
}

impl Chart {
    fn new(x: (f64, f64), y: (f64, f64), names: (&str, &str), alternative: &str) -> Self {
        let mut chart = Self { body: String::new(), x, y };
        let (width, height) = SIZE;
        let _ = write!(
            chart.body,
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{alternative}\">"
        );
        for step in 0..=5 {
            let share = f64::from(step) / 5.0;
            let (x, y) = (mix(chart.x, share), mix(chart.y, share));
            let (h, v) = (chart.h(x), chart.v(y));
            let (left, bottom, right) =
                (chart.h(chart.x.0), chart.v(chart.y.0), chart.h(chart.x.1));
            let _ = write!(
                chart.body,
                "<path class=\"axis\" d=\"M{left:.1} {v:.1}H{right:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
                 <text x=\"{h:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                left - 6.0,
                v + 4.0,
                tick(y, chart.y),
                bottom + 16.0,
                tick(x, chart.x),
            );
        }
        let _ = write!(
            chart.body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + width - RIGHT) / 2.0,
            height - 8.0,
            names.0,
            (TOP + height - BOTTOM) / 2.0,
            names.1,
        );
        chart
    }

    fn h(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (SIZE.0 - LEFT - RIGHT)
    }

    fn v(&self, y: f64) -> f64 {
        SIZE.1 - BOTTOM - (y - self.y.0) / (self.y.1 - self.y.0) * (SIZE.1 - TOP - BOTTOM)
    }

    fn line(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let points: Vec<String> =
            points.map(|(x, y)| format!("{:.1},{:.1}", self.h(x), self.v(y))).collect();
        let _ = write!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    /// A bar from the axis up.
    fn bar(&mut self, class: &str, x: (f64, f64), y: f64, title: &str) {
        let (left, top, bottom) = (self.h(x.0), self.v(y), self.v(self.y.0));
        let (width, height) = (self.h(x.1) - left, bottom - top);
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"><title>{title}</title></rect>"
        );
    }

    /// Names of the first and second colour, from `top` down.
    fn legend(&mut self, top: f64, names: &[&str]) {
        for (place, (name, class)) in names.iter().zip(["legend-one", "legend-two"]).enumerate() {
            let y = top + 14.0 + 16.0 * place as f64;
            let x = SIZE.0 - RIGHT - 8.0;
            let _ = write!(
                self.body,
                "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>"
            );
        }
    }

    fn finish(mut self) -> String {
        self.body.push_str("</svg>");
        self.body
    }
}

fn mix(ends: (f64, f64), share: f64) -> f64 {
    ends.0 + share * (ends.1 - ends.0)
}

/// As many digits as tell neighbours apart.
fn tick(value: f64, ends: (f64, f64)) -> String {
    let step = (ends.1 - ends.0) / 5.0;
    let digits = (1.0 - step.log10()).ceil().clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// Accuracy by confidence with Wilson intervals; behind it the share of the rows in each bin.
pub(super) fn reliability(bins: &[Bin]) -> String {
    let names = ("confidence", "accuracy");
    let mut chart = Chart::new((0.0, 1.0), (0.0, 1.0), names, "reliability diagram");
    let rows: usize = bins.iter().map(|bin| bin.count).sum();
    let width = 1.0 / bins.len() as f64;
    for (place, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let from = place as f64 * width;
        let share = bin.count as f64 / rows as f64;
        let title = format!("{}, accuracy {:.4}", counted(bin.count, "row"), bin.accuracy);
        chart.bar("count", (from, from + width), share, &title);
    }
    chart.line("ideal", [(0.0, 0.0), (1.0, 1.0)].into_iter());
    let full = || bins.iter().filter(|bin| bin.count > 0);
    for bin in full() {
        chart.line(
            "one",
            [(bin.mean_confidence, bin.low), (bin.mean_confidence, bin.high)].into_iter(),
        );
        let (h, v) = (chart.h(bin.mean_confidence), chart.v(bin.accuracy));
        let _ = write!(chart.body, "<circle class=\"dot\" cx=\"{h:.1}\" cy=\"{v:.1}\" r=\"4\"/>");
    }
    chart.finish()
}

/// One line for each kind of doubt.
pub(super) fn risk_coverage(all: &BTreeMap<&'static str, Selective>) -> String {
    let risks = all.values().flat_map(|one| one.curve.iter().map(|point| point.risk));
    let highest = risks.fold(0.01, f64::max);
    let names = ("coverage (share accepted)", "error rate");
    let mut chart = Chart::new((0.0, 1.0), (0.0, 1.05 * highest), names, "risk–coverage curve");
    for (one, class) in all.values().zip(["one", "two"]) {
        chart.line(class, one.curve.iter().map(|point| (point.coverage, point.risk)));
    }
    let names: Vec<String> = all.keys().map(|name| format!("by {name}")).collect();
    // The curve rises to the right: below it there is room.
    let below = SIZE.1 - BOTTOM - 48.0;
    chart.legend(below, &names.iter().map(String::as_str).collect::<Vec<_>>());
    chart.finish()
}

/// Two groups as shares of their rows.
pub(super) fn histogram(histogram: &Histogram) -> String {
    let Histogram { from, to, inside, outside } = histogram;
    let shares = |counts: &[usize]| -> Vec<f64> {
        let rows: usize = counts.iter().sum();
        counts.iter().map(|&count| count as f64 / rows.max(1) as f64).collect()
    };
    let (inside, outside) = (shares(inside), shares(outside));
    let highest = inside.iter().chain(&outside).copied().fold(0.0, f64::max);
    // A single value has no width.
    let ends = if to > from { (*from, *to) } else { (*from, from + 1.0) };
    let names = ("score: higher is more unusual", "share of the group");
    let mut chart = Chart::new(ends, (0.0, 1.05 * highest), names, "histogram of the score");
    for (class, shares) in [("inside", &inside), ("outside", &outside)] {
        let bars = shares.len() as f64;
        for (place, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let place = place as f64;
            let sides = (mix(ends, place / bars), mix(ends, (place + 1.0) / bars));
            chart.bar(class, sides, share, &format!("{:.2} %", 100.0 * share));
        }
    }
    chart.legend(TOP, &["labelled texts", "out-of-distribution texts"]);
    chart.finish()
}
