//! A last layer that reads hidden states beside the feature.

use super::*;
use bayes::compute::Backend;

/// By another way than that of predictions: plain operations, and means by hand.
#[test]
fn a_wide_layer_reads_the_means_of_hidden_states() {
    let (place, _) = MODELS.iter().find(|(place, _)| place.is_wide()).unwrap();
    let loaded = artifact::load(&place.model(), &Backend::Cpu).unwrap();
    assert_eq!(loaded.posterior.states().words(), "0");
    let plain = Classifier::new(&loaded.encoder, &loaded.parameters);
    let predictor = Predictor::new(loaded).unwrap();
    let texts = [("the oven is on the plate", None), ("rake", None)];
    let sequences = predictor.encode(&texts).unwrap().into_iter().map(|one| {
        let Encoded { ids, type_ids, .. } = one;
        Sequence { ids, type_ids, row: 0 }
    });
    let batch = Packed::new(sequences);
    let found = predictor.features(&batch).unwrap();
    let feature_bd = plain.features(&batch).unwrap().to_vec2::<f32>().unwrap();
    let embedded_pd = plain.hidden_states(&batch).unwrap()[0].to_vec2::<f32>().unwrap();
    let width = feature_bd[0].len();
    for (row, (start, end)) in batch.sequences().enumerate() {
        let own = &found[row * 2 * width..][..2 * width];
        for i in 0..width {
            let sum: f32 = embedded_pd[start..end].iter().map(|line| line[i]).sum();
            assert!((own[i] - sum / (end - start) as f32).abs() < 1e-5, "{row} {i}");
            assert!((own[width + i] - feature_bd[row][i]).abs() < 1e-5, "{row} {i}");
        }
    }
    let distributions = predictor.distributions(&found).unwrap();
    let answers = predictor.predict(&texts, &mut |_| {}).unwrap();
    for ((_, predictive), answer) in distributions.iter().zip(answers) {
        let both = predictive.probability_c.iter().zip(&answer.predictive.probability_c);
        assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn a_wide_layer_says_that_the_last_layer_of_the_folder_is_a_stand_in() {
    for (place, _) in MODELS.iter().filter(|(place, _)| place.is_wide()) {
        let name = place.method.name();
        let source = Source::open(&place.model(), &place.path("runs")).unwrap();
        let config = PublishConfig::default();
        let card = Card { source: &source, config: &config, repo: None }.render(None).unwrap();
        assert!(card.contains("reads the means of hidden states 0"), "{name}: {card}");
        let readme = fs::read_to_string(place.model().join("README.md")).unwrap();
        assert!(readme.contains("stand-in"), "{name}: {readme}");
    }
}

#[test]
fn hidden_states_that_are_not_there_are_refused() {
    let parse = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
        Experiment::parse("", "test", &settings).map_err(|error| error.to_string())
    };
    let message = parse(&["posterior.method=swag", "posterior.feature_layers=[0]"]).unwrap_err();
    assert!(message.contains("`posterior.feature_layers`"), "{message}");
    let message = parse(&["posterior.feature_layers=[4, 4]"]).unwrap_err();
    assert!(message.contains("twice"), "{message}");
    let place = Place::new(Method::Laplace, &[]);
    let context = RunContext {
        device: &Backend::Cpu,
        checkpoints: &place.path("checkpoints"),
        runs: &place.path("runs"),
        stop: &AtomicBool::new(false),
        resume: Resume::Auto,
        first: None,
        saved: &|_, _| {},
    };
    let experiment = place.experiment(&["posterior.feature_layers=[1]"]);
    let message = train(&experiment, &context, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("1 is no hidden state before the last layer"), "{message}");
}
