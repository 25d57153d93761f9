use super::*;

/// Four bunches of texts, 300, 60, 30 and 10 of them; the model is sure of the first one alone.
struct Pool {
    features: Vec<Vec<f32>>,
    probabilities: Vec<Vec<f64>>,
    bunch: Vec<usize>,
}

impl Pool {
    fn new() -> Self {
        let mut noise = Noise::new(5).stream(Purpose::Init, 0, 0);
        let mut pool = Self { features: Vec::new(), probabilities: Vec::new(), bunch: Vec::new() };
        for (bunch, rows) in [300, 60, 30, 10].into_iter().enumerate() {
            for _ in 0..rows {
                let mut feature: Vec<f32> = (0..13).map(|_| 0.1 * noise.normal() as f32).collect();
                feature[bunch] += 3.0;
                pool.features.push(feature);
                let sure = if bunch == 0 { 0.9999 } else { 0.4 };
                pool.probabilities.push(vec![sure, 1.0 - sure]);
                pool.bunch.push(bunch);
            }
        }
        pool
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        let one = |place: usize| Candidate {
            probability_c: &self.probabilities[place],
            epistemic: [0.0, 0.01, 0.02, 0.04][self.bunch[place]],
            feature_d: &self.features[place],
        };
        (0..self.bunch.len()).map(one).collect()
    }

    /// How many of each bunch are chosen.
    fn chosen(&self, strategy: Strategy, count: usize, labelled: &[Vec<f32>]) -> [usize; 4] {
        let mut of = [0; 4];
        for seed in 0..50 {
            let selection = Selection { count, strategy, seed };
            let chosen = selection.choose(&self.candidates(), labelled, &mut |_| {});
            assert_eq!(chosen, selection.choose(&self.candidates(), labelled, &mut |_| {}));
            let mut once = chosen.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), count);
            chosen.iter().for_each(|&place| of[self.bunch[place]] += 1);
        }
        of
    }
}

#[test]
fn epistemic_takes_the_highest_and_bald_draws_in_proportion() {
    let pool = Pool::new();
    // 10 rows of the last bunch, then two of the third.
    assert_eq!(pool.chosen(Strategy::Epistemic, 12, &[]), [0, 0, 100, 500]);
    // One draw: the weights of the bunches are 0, 0.6, 0.6 and 0.4.
    let mut of = [0.0; 4];
    for seed in 0..4000 {
        let selection = Selection { count: 1, strategy: Strategy::Bald, seed };
        let chosen = selection.choose(&pool.candidates(), &[], &mut |_| {});
        of[pool.bunch[chosen[0]]] += 1.0 / 4000.0;
    }
    for (of, expected) in of.iter().zip([0.0, 0.375, 0.375, 0.25]) {
        let expected: f64 = expected;
        assert!((of - expected).abs() <= 0.03, "{of} {expected}");
    }
    // The sure ones come last.
    assert_eq!(pool.chosen(Strategy::Bald, 100, &[])[0], 0);
}

#[test]
fn coverage_goes_where_nothing_is_labelled() {
    let pool = Pool::new();
    let of = pool.chosen(Strategy::Coverage, 4, &[]);
    assert!(of.iter().all(|&count| count >= 30), "one of each: {of:?}");
    let labelled: Vec<Vec<f32>> = [0, 300].map(|row| pool.features[row].clone()).to_vec();
    let of = pool.chosen(Strategy::Coverage, 2, &labelled);
    assert!(of[2] + of[3] > 80, "{of:?}");
}

#[test]
fn badge_goes_where_the_model_is_not_sure_and_to_each_such_bunch() {
    let pool = Pool::new();
    let of = pool.chosen(Strategy::Badge, 3, &[]);
    assert_eq!(of[0], 0);
    assert!(of[1..].iter().all(|&count| count >= 30), "{of:?}");
}

#[test]
fn products_of_gradients_are_those_of_gradients_written_out() {
    let pool = Pool::new();
    let rows = [pool.candidates()[0].clone(), pool.candidates()[310].clone()];
    let written = |row: &Candidate<'_>| -> Vec<f64> {
        let mut p: Vec<f64> = row.probability_c.to_vec();
        p[argmax(row.probability_c)] -= 1.0;
        let with_bias = || row.feature_d.iter().map(|&x| f64::from(x)).chain([1.0]);
        p.iter().flat_map(|&r| with_bias().map(move |x| r * x)).collect()
    };
    let gradients = Gradients::new(&rows);
    for (a, b) in [(0, 0), (0, 1), (1, 1)] {
        let plain: f64 = written(&rows[a]).iter().zip(written(&rows[b])).map(|(x, y)| x * y).sum();
        let found = gradients.product(a, b);
        assert!((found - plain).abs() < 1e-5 * plain.abs().max(1e-3), "{found} {plain}");
    }
}

#[test]
fn products_are_those_of_vectors() {
    let mut noise = Noise::new(6).stream(Purpose::Init, 0, 0);
    let a: Vec<f32> = (0..37).map(|_| noise.normal() as f32).collect();
    let b: Vec<f32> = (0..37).map(|_| noise.normal() as f32).collect();
    let plain: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    assert!((dot(&a, &b) - plain).abs() < 1e-5);
    assert!((dot(&direction(&a), &direction(&a)) - 1.0).abs() < 1e-6);
    assert_eq!(direction(&[0.0; 5]), [0.0; 5]);
}

#[test]
fn copies_come_after_all_others_and_no_more_than_there_are() {
    let one_d = [1.0f32, 2.0];
    let one = Candidate { probability_c: &[0.5, 0.5], epistemic: 0.0, feature_d: &one_d };
    let other = Candidate { feature_d: &[2.0, -1.0], ..one.clone() };
    let pool = vec![one.clone(), one.clone(), other, one];
    for strategy in [Strategy::Epistemic, Strategy::Bald, Strategy::Badge, Strategy::Coverage] {
        let selection = Selection { count: 9, strategy, seed: 1 };
        let mut chosen = selection.choose(&pool, &[], &mut |_| {});
        if matches!(strategy, Strategy::Badge | Strategy::Coverage) {
            assert!(chosen[..2].contains(&2), "{chosen:?}");
        }
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3], "{strategy:?}");
        assert!(selection.choose(&[], &[], &mut |_| {}).is_empty());
    }
}
