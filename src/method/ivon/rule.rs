//! The update of one step, value by value. What is kept is f32; what is in between is f64.

/// The numbers of a step. Symbols are those of the paper, see [`super`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// λ.
    pub ess: f64,
    /// δ.
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    /// ξ; 0 is off.
    pub clip_radius: f64,
    /// α of the step, times h₀ + δ.
    pub rate: f64,
    /// 1 − β₁ᵗ, in the t-th step.
    pub debias: f64,
}

/// The values of one parameter.
#[derive(Debug)]
pub struct Values<'a> {
    /// m.
    pub mean: &'a mut [f32],
    /// g, not yet divided by [`Rule::debias`].
    pub momentum: &'a mut [f32],
    /// h.
    pub hess: &'a mut [f32],
}

impl Rule {
    /// The variance of a weight: 1 / (λ (h + δ)).
    pub fn variance(&self, hess: f32) -> f64 {
        (self.ess * (f64::from(hess) + self.weight_decay)).recip()
    }

    /// One step. `gradient` was taken at m + `noise`.
    pub fn step(&self, own: Values<'_>, noise: &[f32], gradient: &[f32]) {
        let Self { ess, weight_decay: delta, beta1, beta2, .. } = *self;
        let rest = 1.0 - beta2;
        let most = if self.clip_radius > 0.0 { self.clip_radius } else { f64::INFINITY };
        let values = own.mean.iter_mut().zip(own.momentum).zip(own.hess);
        for (((mean, momentum), hess), (&noise, &gradient)) in
            values.zip(noise.iter().zip(gradient))
        {
            let (m, h, gradient) = (f64::from(*mean), f64::from(*hess), f64::from(gradient));
            // Price's estimator of the Hessian: E ∇²ℓ = λ (h + δ) E[n ∇ℓ].
            let f = ess * (h + delta) * f64::from(noise) * gradient;
            let g = beta1 * f64::from(*momentum) + (1.0 - beta1) * gradient;
            // The last term is that of the Riemannian gradient: it keeps h + δ above 0.
            let h = beta2 * h + rest * f + 0.5 * rest * rest * (h - f).powi(2) / (h + delta);
            let move_by = ((g / self.debias + delta * m) / (h + delta)).clamp(-most, most);
            *momentum = g as f32;
            *hess = h as f32;
            *mean = (m - self.rate * move_by) as f32;
        }
    }
}
