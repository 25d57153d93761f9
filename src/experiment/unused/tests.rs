use std::path::Path;

use super::*;
use crate::data::Part;

fn experiment(written: &[&str]) -> Experiment {
    let settings: Vec<String> = written.iter().map(|&one| one.to_owned()).collect();
    Experiment::parse("", "test", &settings).unwrap()
}

/// Parts without rows, all of the training split.
fn parts() -> Parts {
    let part = || Part { split: "train".to_owned(), rows: Vec::new() };
    Parts {
        train: part(),
        validation: part(),
        temperature: part(),
        conformal: part(),
        test: part(),
        seen_in_test: Vec::new(),
        seen_in_validation: Vec::new(),
    }
}

#[test]
fn a_key_without_effect_is_named_with_the_reason_unless_it_has_its_usual_value() {
    let way = Use {
        recipe: Recipe::Full,
        timed: false,
        crossed: false,
        own_validation: false,
        own_test: true,
        no_novelty: false,
        no_distance: false,
        scheduler: SchedulerType::Linear,
        patient: false,
        no_link: None,
        no_sets: false,
        no_teacher: true,
        no_variance: false,
        one_rate: false,
        of_method: &[],
    };
    let wrote = experiment(&[
        "train.learning_rate=1e-3",
        "train.num_train_epochs=3",
        "train.seed=7",
        "data.validation_fraction=0.2",
        "data.calibration_fraction=0.05",
        "data.validation_limit=9",
        "data.test_fraction=0.3",
        "data.train_limit=80",
        "calibration.ood_p=0.05",
    ]);
    assert_eq!(
        way.warning(&wrote).unwrap(),
        "`data.test_fraction` has no effect because the data have a test split"
    );
    let quiet = Use { no_novelty: true, own_test: false, ..way };
    assert_eq!(
        quiet.warning(&wrote).unwrap(),
        "`calibration.ood_p` has no effect because `calibration.novelty` is none"
    );
    let head = Use { crossed: true, own_test: false, ..way.kept(Recipe::Head) };
    assert_eq!(
        head.warning(&wrote).unwrap(),
        "`data.validation_fraction`, `data.validation_limit` have no effect because every row \
         outside the test split trains and calibrates the last layer; `train.learning_rate` has no \
         effect because only the last layer is fitted"
    );
    // The rows that choose among fine-tuned weights are divided off by the fraction.
    let auto = head.kept(Recipe::Auto).warning(&wrote).unwrap();
    assert!(auto.starts_with("`data.validation_limit` has no effect"), "{auto}");
    let brought = Use { own_validation: true, ..way };
    assert!(brought.warning(&wrote).unwrap().contains("the data have a validation split"));
    assert_eq!(head.warning(&experiment(&["train.seed=7", "data.train_limit=80"])), None);
    let left = head.unused(&wrote);
    assert!(left.contains("train.learning_rate") && left.contains("train.weight_decay"));
    assert!(!left.contains("train.seed") && !left.contains("posterior.method"), "{left:?}");
}

#[test]
fn keys_that_another_key_leaves_without_effect_are_named() {
    let way = |wrote: &Experiment, classes| {
        Use::new(wrote, &parts(), false, classes).warning(wrote).unwrap_or_default()
    };
    for (settings, classes, said) in [
        (
            &["train.lr_num_cycles=3"][..],
            3,
            "`train.lr_scheduler_type` is not cosine_with_restarts",
        ),
        (&["train.lr_power=2.0"], 3, "`train.lr_power` has no effect"),
        (&["train.lr_end=1e-9", "train.lr_scheduler_type=cosine"], 3, "is not polynomial"),
        (&["train.lr_decay_steps=0.3"], 3, "is not warmup_stable_decay"),
        (&["train.lr_scheduler_type=constant", "train.warmup_steps=7"], 3, "is constant"),
        (&["train.early_stopping_threshold=0.1"], 3, "`train.early_stopping_patience` is 0"),
        (&["posterior.link=mf2", "posterior.method=map"], 3, "`posterior.method` is map"),
        (&["posterior.link=mf2"], 2, "two classes are exact"),
        (
            &["posterior.link=mf2", "posterior.method=mc_dropout", "posterior.num_samples=4"],
            3,
            "means over the passes",
        ),
        (&["posterior.link=mf2", "posterior.method=ensemble"], 3, "means over the networks"),
        (
            &["calibration.conformal_method=aps", "calibration.conformal_alpha=[]"],
            3,
            "`calibration.conformal_alpha` is empty",
        ),
        (&["calibration.scale=largest", "posterior.method=map"], 2, "`posterior.method` is map"),
        (&["calibration.scale=0.5", "posterior.method=map"], 3, "`calibration.scale` has no"),
        (
            &["posterior.method=sngp", "posterior.sngp_norm_bound=2.0"],
            3,
            "`posterior.sngp_norm_bound` has no effect because `posterior.sngp_joint` is false",
        ),
    ] {
        let found = way(&experiment(settings), classes);
        assert!(found.contains(said), "{settings:?}: {found:?}");
    }
    for settings in [
        &["train.lr_num_cycles=3", "train.lr_scheduler_type=cosine_with_restarts"][..],
        &["train.lr_power=2.0", "train.lr_end=1e-9", "train.lr_scheduler_type=polynomial"],
        &["train.lr_decay_steps=0.3", "train.lr_scheduler_type=warmup_stable_decay"],
        &["train.early_stopping_threshold=0.1", "train.early_stopping_patience=2"],
        &["posterior.link=mf2", "calibration.conformal_method=aps", "train.warmup_steps=7"],
        &["calibration.scale=0.5", "posterior.method=mc_dropout"],
        &["calibration.scale=largest"],
        &["posterior.method=sngp", "posterior.sngp_norm_bound=2", "posterior.sngp_joint=true"],
    ] {
        assert_eq!(way(&experiment(settings), 3), "", "{settings:?}");
    }
}

#[test]
fn a_fit_names_keys_that_say_nothing_to_any_of_its_methods() {
    let said = |methods: &[&str], settings: &[&str]| {
        let with = |method: &&str| {
            let method = format!("posterior.method={method}");
            let own =
                |setting: &&&str| *method != *"posterior.method=map" || !setting.contains("sngp");
            let all: Vec<&str> =
                settings.iter().filter(own).copied().chain([method.as_str()]).collect();
            experiment(&all)
        };
        let chosen: Vec<Experiment> = methods.iter().map(with).collect();
        let keys: Vec<&str> = settings.iter().map(|one| one.split('=').next().unwrap()).collect();
        of_fit(&chosen, &keys, 3).unwrap_or_default()
    };
    assert!(said(&["map"], &["calibration.scale=0.5"]).contains("method` is map"));
    assert!(said(&["map"], &["posterior.link=mf2"]).contains("method` is map"));
    let novelty = ["calibration.novelty=none", "calibration.ood_p=0.2"];
    assert!(said(&["laplace", "map"], &novelty).contains("novelty` is none"));
    let bound = ["posterior.sngp_norm_bound=2.0"];
    assert!(said(&["map", "sngp"], &bound).contains("sngp_joint` is false"));
    for methods in [&["laplace"][..], &["map", "laplace"]] {
        assert_eq!(said(methods, &["calibration.scale=0.5", "posterior.link=mf2"]), "");
    }
    assert_eq!(said(&["map"], &["calibration.ood_p=0.2", "data.test_fraction=0.3"]), "");
    let twice = said(&["map"], &["posterior.link=mf2", "posterior.link=mf2"]);
    assert_eq!(twice.matches("`posterior.link`").count(), 1, "{twice}");
}

#[test]
fn a_decay_over_layers_has_no_effect_where_one_is_trained_or_none() {
    let bert = r#"{ "model_type": "bert", "num_hidden_layers": 4 }"#;
    let albert = r#"{ "model_type": "albert", "num_hidden_groups": 2 }"#;
    for (file, frozen, told) in [
        (bert, 0, false),
        (bert, 2, false),
        (bert, 3, true),
        (bert, 4, true),
        (albert, 0, false),
        (albert, 6, true),
        (albert, 12, true),
    ] {
        let frozen = format!("train.frozen_layers={frozen}");
        let wrote = experiment(&["train.layer_lr_decay=0.9", &frozen]);
        let encoder = EncoderConfig::from_bytes(Path::new("config.json"), file.as_bytes());
        let way = Use::new(&wrote, &parts(), false, 3).of_encoder(&wrote, &encoder.unwrap());
        let said = way.warning(&wrote).unwrap_or_default();
        assert_eq!(said.starts_with("`train.layer_lr_decay` has no"), told, "{file} {frozen}");
    }
}
