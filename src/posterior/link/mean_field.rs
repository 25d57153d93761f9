//! Closed forms for more than two classes that need no draws, and have no entropies of their own.
//!
//! `mf0` is the probit approximation of each logit by itself; `mf0c` the same after centring, so
//! that a random shift of all logits at once changes nothing; `mf2` is the pairwise mean field of
//! Lu, Ie and Sha (arXiv 2006.07584), which for two classes is MacKay's formula.

/// π / 8.
const LAMBDA: f64 = std::f64::consts::FRAC_PI_8;

/// A Gaussian over logits by its mean and a root F of its covariance F Fᵀ, `[k, j]`.
#[derive(Clone, Debug)]
pub struct Rooted {
    /// `[k]`.
    pub mean_k: Vec<f64>,
    /// `[k, j]`.
    pub root_kj: Vec<f64>,
}

impl Rooted {
    fn lines(&self) -> std::slice::ChunksExact<'_, f64> {
        self.root_kj.chunks_exact(self.root_kj.len() / self.mean_k.len())
    }

    /// With the mean over the classes taken from the logits.
    pub fn centred(&self) -> Self {
        let classes = self.mean_k.len() as f64;
        let width = self.root_kj.len() / self.mean_k.len();
        let mean = self.mean_k.iter().sum::<f64>() / classes;
        let column = |j: usize| self.root_kj.iter().skip(j).step_by(width).sum::<f64>() / classes;
        let mean_j: Vec<f64> = (0..width).map(column).collect();
        let root_kj = self.lines().flat_map(|line| line.iter().zip(&mean_j).map(|(f, m)| f - m));
        Self { mean_k: self.mean_k.iter().map(|l| l - mean).collect(), root_kj: root_kj.collect() }
    }
}

/// softmax(μ / √(1 + λ C_kk)).
pub fn mf0(logits: &Rooted) -> Vec<f64> {
    let shrunk = logits.mean_k.iter().zip(logits.lines()).map(|(mean, line)| {
        let variance: f64 = line.iter().map(|f| f * f).sum();
        mean / (1.0 + LAMBDA * variance).sqrt()
    });
    super::softmax(&shrunk.collect::<Vec<_>>(), 1.0)
}

/// p_k ∝ 1 / (1 + Σ_{i≠k} exp(−(μ_k − μ_i) / √(1 + λ s²_ki))), s²_ki = Var(logit k − logit i).
pub fn mf2(logits: &Rooted) -> Vec<f64> {
    let lines: Vec<&[f64]> = logits.lines().collect();
    let weight = |k: usize| {
        let mut sum = 1.0;
        for i in (0..lines.len()).filter(|&i| i != k) {
            let variance: f64 = lines[k].iter().zip(lines[i]).map(|(a, b)| (a - b).powi(2)).sum();
            let margin = logits.mean_k[k] - logits.mean_k[i];
            sum += (-margin / (1.0 + LAMBDA * variance).sqrt()).exp();
        }
        1.0 / sum
    };
    let weight_k: Vec<f64> = (0..lines.len()).map(weight).collect();
    let sum: f64 = weight_k.iter().sum();
    weight_k.into_iter().map(|weight| weight / sum).collect()
}
