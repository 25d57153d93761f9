//! Samples of the top layers.

use super::*;

/// Two layers, of which the upper one varies.
fn of_two_layers() -> (Parameters, TopLayers) {
    let tensor = |shape: &[usize], seed| {
        let values = floats(shape.iter().product(), seed);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let names = [
        ("classifier.weight", &[2, 3][..]),
        ("classifier.bias", &[2]),
        ("layer.0000.attention.norm", &[2, 3]),
        ("layer.0001.attention.norm", &[2, 3]),
        ("layer.0001.feed_forward.inner.weight", &[5, 3]),
        ("layer.0001.feed_forward.outer.weight", &[3, 5]),
    ];
    let all = (0..).zip(names).map(|(seed, (name, shape))| (name.to_owned(), tensor(shape, seed)));
    let product = |fixed, drawn| Deviation::Product { fixed, drawn };
    let deviations = [
        ("classifier.weight", product(Fixed::Neither, floats(3 * 6, 11))),
        ("layer.0001.attention.norm", Deviation::Independent { variance: vec![0.25; 6] }),
        (
            "layer.0001.feed_forward.inner.weight",
            product(Fixed::Up(floats(5 * 2, 12)), floats(3 * 2 * 3, 13)),
        ),
        (
            "layer.0001.feed_forward.outer.weight",
            product(Fixed::Down(floats(2 * 5, 14)), floats(3 * 3 * 2, 15)),
        ),
    ];
    let deviations = deviations.map(|(name, one)| (name.to_owned(), one)).into();
    (
        Parameters::from_map(all.collect(), &Backend::Cpu),
        TopLayers { samples: 3, layers: 1, all: 2, deviations },
    )
}

fn read_top(bytes: Vec<u8>, parameters: &Parameters) -> Result<Posterior, ArtifactError> {
    let file = File { path: "posterior.safetensors".into(), bytes };
    read_posterior(&file, parameters, Task::SingleLabel, LinkChoice::Qmc)
}

#[test]
fn samples_of_the_top_layers_are_the_same_when_they_are_read() {
    let (parameters, top) = of_two_layers();
    let spread = Spread::TopLayers(Arc::new(top.clone()));
    let written = posterior(parameters.get("classifier.weight"), spread, LinkChoice::Qmc);
    let bytes = posterior_file(&written, None);
    let found = read_top(bytes.clone(), &parameters).unwrap();
    assert_eq!(posterior_file(&found, None), bytes);
    assert_eq!(found.spread, written.spread);
    assert_eq!(found.passes(), Some(Passes::TopLayers { samples: 3, layers: 1 }));
    assert_eq!(found.top_layers().unwrap().cost(), 2.5);
    let values = |parameters: &Parameters, name: &str| -> Vec<f32> {
        parameters.get(name).flatten_all().unwrap().to_vec1().unwrap()
    };
    let samples: Vec<Parameters> =
        (0..3).map(|sample| top.sample(sample, &parameters).unwrap()).collect();
    for name in top.deviations.keys() {
        let own: Vec<Vec<f32>> = samples.iter().map(|one| values(one, name)).collect();
        assert!(own[0] != own[1] && own[1] != own[2] && own[0] != values(&parameters, name));
    }
    let below = "layer.0000.attention.norm";
    assert_eq!(values(&samples[0], below), values(&parameters, below));
    // Line 1 of the outer weight of sample 2: B A, with A `[2, 5]`.
    let outer = "layer.0001.feed_forward.outer.weight";
    let (mean, moved) = (values(&parameters, outer), values(&samples[2], outer));
    let (down, drawn) = (floats(2 * 5, 14), floats(3 * 3 * 2, 15));
    for column in 0..5 {
        let up = &drawn[2 * 6 + 2..2 * 6 + 4];
        let expected = mean[5 + column] + up[0] * down[column] + up[1] * down[5 + column];
        assert!((moved[5 + column] - expected).abs() < 1e-5);
    }
}

#[test]
fn samples_of_the_top_layers_that_no_fit_has_are_refused_by_name() {
    let (parameters, _) = of_two_layers();
    let head = |samples: f64, layers: f64| {
        vec![doubles("top.samples", &[samples]), doubles("top.layers", &[layers])]
    };
    let norm = "top.variance.layer.0001.attention.norm";
    let fine = singles(norm, &[6], 0.1);
    let with = |more: Vec<Entry<'static>>| [head(3.0, 1.0), more].concat();
    assert!(read_top(made(&with(vec![fine.clone()])), &parameters).is_ok());
    let inner = "layer.0001.feed_forward.inner.weight";
    let [drawn, up, down] = ["drawn", "up", "down"].map(|kind| format!("top.{kind}.{inner}"));
    let factor = |name: &str, shape: &[usize], value: f32| -> Entry<'static> {
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        singles(name, shape, value)
    };
    for (tensors, words) in [
        (vec![fine.clone()], "`top.samples` is missing"),
        ([head(1.0, 1.0), vec![fine.clone()]].concat(), "`top.samples` is 1, and 2 is the least"),
        ([head(1e12, 1.0), vec![fine.clone()]].concat(), "`top.samples` is not 0 to"),
        ([head(f64::NAN, 1.0), vec![fine.clone()]].concat(), "`top.samples` is not 0 to"),
        ([head(3.0, 0.0), vec![fine.clone()]].concat(), "`top.layers` is 0, but"),
        ([head(3.0, 3.0), vec![fine.clone()]].concat(), "`top.layers` is 3, but the encoder has 2"),
        (with(vec![]), "no weight varies"),
        (with(vec![singles(norm, &[5], 0.1)]), "has 5 values, and its parameter 6"),
        (with(vec![singles(norm, &[6], -0.1)]), "holds a value that is not 0 to"),
        (with(vec![singles(norm, &[6], 1e30)]), "holds a value that is not 0 to"),
        (with(vec![singles(norm, &[6], f32::NAN)]), "holds a value that is not finite"),
        (
            with(vec![singles("top.variance.layer.0000.attention.norm", &[6], 0.1)]),
            "is for no parameter of the top 1 layers",
        ),
        (with(vec![singles("top.variance.nonsense", &[6], 0.1)]), "is for no parameter"),
        (with(vec![fine.clone(), factor(&up, &[5], 1.0)]), "is missing"),
        (with(vec![factor(&drawn, &[3, 7], 1.0)]), "do not fit a weight [5, 3]"),
        (
            with(vec![factor(&drawn, &[3, 6], 1.0), factor(&up, &[9], 1.0)]),
            "do not fit a weight [5, 3]",
        ),
        (
            with(vec![
                factor(&drawn, &[3, 6], 1.0),
                factor(&up, &[10], 1.0),
                factor(&down, &[6], 1.0),
            ]),
            "exclude each other",
        ),
        (
            with(vec![factor(&drawn, &[3, 6], 1e30), factor(&up, &[10], 1.0)]),
            "holds a value beyond",
        ),
        (
            with(vec![factor(&drawn, &[3, 6], f32::INFINITY), factor(&up, &[10], 1.0)]),
            "is not finite",
        ),
        (
            [with(vec![fine.clone()]), vec![doubles("members", &[3.0])]].concat(),
            "exclude each other",
        ),
    ] {
        let message = read_top(made(&tensors), &parameters).unwrap_err().to_string();
        assert!(message.contains(words), "{words}: {message}");
    }
}
