//! Methods whose answer is that of several networks: ensembles, and samples of the top layers.

use super::*;
use bayes::compute::Backend;

fn ensemble() -> &'static (Place, TrainReport) {
    MODELS.iter().find(|(place, _)| place.method == Method::Ensemble).unwrap()
}

/// In the middle of the first network, at its end with nothing of the second on the disk, and in the second.
#[test]
fn an_ensemble_resumes_in_the_network_that_it_was_killed_in() {
    let (whole, report) = ensemble();
    let own: Vec<u64> = report.members.iter().map(|one| one.steps).collect();
    assert_eq!((own.len(), own.iter().sum::<u64>()), (3, report.steps));
    for late in [own[0] / 2, own[0], own[0] + own[1] / 2] {
        killed_and_resumed(whole, report, late);
    }
    let log = String::from_utf8(whole.log()).unwrap();
    let numbers = log.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["member"].as_u64().unwrap()
    });
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&2), "network after network");
    let home = whole.path("checkpoints/things");
    for folder in [home.clone(), home.join("members/1"), home.join("members/2")] {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = entries.filter(|name| name.to_string_lossy().starts_with("checkpoint_")).count();
        assert_eq!(kept, 1, "{}: of a network that has ended the last is kept", folder.display());
    }
}

/// A point estimate of the same seed.
#[test]
fn the_first_network_of_an_ensemble_is_that_of_map_and_the_others_are_not() {
    let (whole, report) = ensemble();
    let map = MODELS.iter().find(|(place, _)| place.method == Method::Map).unwrap();
    let (files, alone) = (whole.files(), map.0.files());
    let weights = "model.safetensors";
    assert!(files[weights] == alone[weights], "another first network");
    let others = ["bayes/members/1.safetensors", "bayes/members/2.safetensors"];
    assert!(files[others[0]] != files[weights] && files[others[0]] != files[others[1]]);
    assert_eq!(files.len(), alone.len() + 2);
    let rates: Vec<f64> = report.members.iter().map(|one| one.learning_rate / 5e-3).collect();
    assert!((rates[1] - 1.5).abs() < 1e-12 && (rates[2] * 1.5 - 1.0).abs() < 1e-12, "{rates:?}");
}

/// Nor is it trained again, where a run of one has it; and a run that was killed after that resumes.
#[test]
fn an_ensemble_takes_its_first_network_from_a_run_that_has_it() {
    let (whole, report) = ensemble();
    let map = MODELS.iter().find(|(place, _)| place.method == Method::Map).unwrap();
    let own: Vec<u64> = report.members.iter().map(|one| one.steps).collect();
    let place = Place { first: Some(map.0.path("checkpoints/things")), ..whole.like() };
    let data = format!("data.dataset={}", map.0.path("things.csv").display());
    let stopped = AtomicU64::new(0);
    let killed = place.path("killed");
    let first_steps = AtomicU64::new(u64::MAX);
    place.train(&[&data], &|_, steps| {
        first_steps.fetch_min(steps, Ordering::Relaxed);
        if steps > own[0] + own[1] && stopped.fetch_add(1, Ordering::Relaxed) == 0 {
            for one in ["checkpoints", "runs"] {
                copy(&place.path(one), &killed.join(one));
            }
        }
    });
    assert!(first_steps.into_inner() > own[0], "the first network was trained again");
    assert!(whole.files() == place.files(), "other bytes");
    for one in ["checkpoints", "runs"] {
        fs::remove_dir_all(place.path(one)).unwrap();
        fs::rename(killed.join(one), place.path(one)).unwrap();
    }
    let began = AtomicU64::new(u64::MAX);
    place.train(&[&data], &|_, steps| {
        began.fetch_min(steps, Ordering::Relaxed);
    });
    assert!(began.into_inner() > own[0] + own[1], "it resumed in the third network");
    assert!(whole.files() == place.files(), "other bytes after a kill");
}

#[test]
fn an_ensemble_says_the_mean_of_what_its_networks_say() {
    let texts = ["the oven is on the plate", "rake", "bolt of the lawn"].map(|text| (text, None));
    let (place, _) = ensemble();
    let whole = Predictor::load(&place.model(), &Backend::Cpu).unwrap();
    let artifact = whole.artifact().clone();
    let alone = |parameters: &bayes::model::Parameters| {
        let posterior = Posterior::point(artifact.manifest.task, parameters);
        let parameters = parameters.clone();
        let one = Artifact { parameters, members: Vec::new(), posterior, ..artifact.clone() };
        Predictor::new(one).unwrap().predict(&texts, &mut |_| {}).unwrap()
    };
    let networks = std::iter::once(&artifact.parameters).chain(&artifact.members);
    let networks: Vec<_> = networks.map(alone).collect();
    let temperature = artifact.posterior.scaling.temperature;
    assert_eq!(artifact.posterior.scaling.scale, 1.0, "each network counts as it is");
    let found = whole.predict(&texts, &mut |_| {}).unwrap();
    for (row, found) in found.iter().enumerate() {
        let mut mean_c = [0.0; 3];
        for network in &networks {
            let p_c = softmax(&network[row].logits.mean(), temperature);
            mean_c.iter_mut().zip(p_c).for_each(|(mean, p)| *mean += p / 3.0);
        }
        let both = found.predictive.probability_c.iter().zip(mean_c);
        assert!(both.clone().all(|(a, b)| (a - b).abs() < 1e-9), "{:?}", both.collect::<Vec<_>>());
        assert!(found.predictive.epistemic.unwrap() >= 0.0);
        assert_eq!(found.logits.passes(), Some(3));
    }
}

fn of_top_layers() -> impl Iterator<Item = &'static Place> {
    let own = |place: &&Place| matches!(place.method, Method::Ivon | Method::LoraLaplace);
    MODELS.iter().map(|(place, _)| place).filter(own)
}

/// Each sample is a network of its own, whose lower layers happen to be those of the others.
#[test]
fn samples_of_the_top_layers_say_the_mean_of_what_whole_networks_say() {
    let texts = ["the oven is on the plate", "rake", "bolt of the lawn"].map(|text| (text, None));
    for place in of_top_layers() {
        let name = place.method.name();
        let whole = Predictor::load(&place.model(), &Backend::Cpu).unwrap();
        let artifact = whole.artifact().clone();
        let top = artifact.posterior.top_layers().unwrap().clone();
        let all = artifact.encoder.num_hidden_layers;
        assert_eq!((top.samples, top.layers, top.all), (4, 1, all), "{name}");
        assert_eq!(top.cost(), 1.0 + 4.0 / all as f64, "{name}");
        let alone = |sample: usize| {
            let parameters = top.sample(sample, &artifact.parameters).unwrap();
            let posterior = Posterior::point(artifact.manifest.task, &parameters);
            let one = Artifact { parameters, posterior, ..artifact.clone() };
            Predictor::new(one).unwrap().predict(&texts, &mut |_| {}).unwrap()
        };
        let networks: Vec<_> = (0..top.samples).map(alone).collect();
        let scaling = &artifact.posterior.scaling;
        assert_eq!(scaling.scale, 1.0, "{name}: each sample counts as it is");
        let found = whole.predict(&texts, &mut |_| {}).unwrap();
        for (row, found) in found.iter().enumerate() {
            let mut mean_c = [0.0; 3];
            for network in &networks {
                let p_c = softmax(&network[row].logits.mean(), scaling.temperature);
                mean_c.iter_mut().zip(p_c).for_each(|(mean, p)| *mean += p / 4.0);
            }
            let both = found.predictive.probability_c.iter().zip(mean_c);
            assert!(
                both.clone().all(|(a, b)| (a - b).abs() < 1e-9),
                "{name}: {:?}",
                both.collect::<Vec<_>>()
            );
            assert!(found.predictive.epistemic.unwrap() > 0.0, "{name}");
            assert_eq!(found.logits.passes(), Some(4));
        }
    }
}

/// A server reads one batch of texts that are tokenised already, and is not always asked for the uncertainty.
#[test]
fn samples_of_the_top_layers_answer_the_same_to_a_server() {
    let texts = ["the oven is on the plate", "rake"].map(|text| (text, None));
    for place in of_top_layers() {
        let predictor = Predictor::load(&place.model(), &Backend::Cpu).unwrap();
        let expected = predictor.predict(&texts, &mut |_| {}).unwrap();
        let encoded = predictor.encode(&texts).unwrap();
        let batch: Vec<&Encoded> = encoded.iter().collect();
        for sampling in [None, predictor.passes(None, 7)] {
            let readings = predictor.read(&batch, sampling, &|| true).unwrap().unwrap();
            for ((encoded, reading), expected) in encoded.iter().zip(readings).zip(&expected) {
                let answer = predictor.answer(encoded, reading, predictor.usual()).unwrap();
                assert_eq!(answer.logits, expected.logits, "{}", place.method.name());
                let (one, other) = (&answer.predictive, &expected.predictive);
                assert_eq!(one.probability_c, other.probability_c);
                assert_eq!(one.epistemic, other.epistemic);
            }
        }
        assert!(predictor.read(&batch, None, &|| false).unwrap().is_none(), "nobody waits");
    }
}

#[test]
fn an_ensemble_is_published_whole_and_its_card_says_what_python_sees() {
    let (place, _) = ensemble();
    let source = Source::open(&place.model(), &place.path("runs")).unwrap();
    let config = PublishConfig::default();
    let card = Card { source: &source, config: &config, repo: None }.render(None).unwrap();
    assert!(card.contains("the first of the model's 3 networks alone"), "{card}");
    assert!(card.contains("A prediction costs 3 forward passes"), "{card}");
    assert!(card.contains("3 networks were trained one after another"), "{card}");
    let files = collect(&source, &Wanted { card, ..Wanted::default() }).unwrap();
    for name in place.files().into_keys() {
        assert!(files.iter().any(|file| file.path == name), "{name} is not sent");
    }
    let readme = fs::read_to_string(place.model().join("README.md")).unwrap();
    assert!(readme.contains("ensemble of 3 networks"), "{readme}");
}

#[test]
fn an_ensemble_of_one_fitted_last_layer_is_refused() {
    for (recipe, why) in [("head", "the same for every seed"), ("auto", "between one fitted")] {
        let settings = [format!("train.recipe={recipe}"), "posterior.method=ensemble".to_owned()];
        let settings = settings.into_iter().chain(["model.init=x".to_owned()]);
        let settings: Vec<String> = settings.collect();
        let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
        assert!(message.contains(why) && message.contains("`train.recipe` to `full`"), "{message}");
    }
}
