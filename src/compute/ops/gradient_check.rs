//! Gradients against central finite differences, in f64.

use candle_core::{Device, Result, Tensor, Var};

use crate::compute::{Noise, Purpose};

/// A tensor of normal draws, scaled away from saturation.
pub fn sample(shape: &[usize], seed: u64) -> Tensor {
    let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
    let count = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|_| 0.7 * stream.normal()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Checks d(w · f(inputs)) for a fixed random w and every element of every input: step 1e-5,
/// relative tolerance 1e-6 (the truncation error of central differences at this step is 1e-10 times
/// the third derivative, rounding about 1e-11).
pub fn assert_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let output = f(&tensors).unwrap();
    let weight = sample(output.dims(), 99);
    let objective = |tensors: &[Tensor]| -> Tensor {
        (f(tensors).unwrap() * &weight).unwrap().sum_all().unwrap()
    };
    let gradients = objective(&tensors).backward().unwrap();
    let step = 1e-5;
    for (index, input) in inputs.iter().enumerate() {
        let gradient = gradients.get(&tensors[index]).expect("every input has a gradient");
        assert_eq!(gradient.dims(), input.dims());
        let analytic = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let values = input.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (place, &found) in analytic.iter().enumerate() {
            let at = |delta: f64| {
                let mut moved = values.clone();
                moved[place] += delta;
                let mut all = inputs.to_vec();
                all[index] = Tensor::from_vec(moved, input.dims(), &Device::Cpu).unwrap();
                objective(&all).to_scalar::<f64>().unwrap()
            };
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            assert!(
                (found - numeric).abs() <= 1e-6 * (1.0 + numeric.abs()),
                "input {index}, element {place}: backward {found}, finite difference {numeric}"
            );
        }
    }
}
