//! What a config may say and what it is refused for.

use super::*;

#[test]
fn keys_of_fine_tuning_are_refused_for_a_head() {
    for key in ["warmup_steps=5", "max_steps=5", "learning_rate=1e-3"] {
        let setting = format!("train.{key}");
        let head = ["model.init=a/b", "train.recipe=head", &setting];
        let message = parse("", &head).unwrap_err();
        assert!(
            message.contains("`train.") && message.contains("applies to fine-tuning"),
            "{message}"
        );
        assert!(parse("", &["train.recipe=auto", &setting]).is_ok());
    }
    let settings =
        ["model.init=a/b", "train.recipe=head", "train.seed=3", "train.class_weights=balanced"];
    assert!(parse("[train]\nmax_steps = 5\n", &settings).is_ok());
}

#[test]
fn a_method_that_follows_the_training_needs_all_of_it() {
    for (setting, key) in [
        ("train.recipe=auto", "`train.recipe`"),
        ("train.recipe=head", "`train.recipe`"),
        ("train.ema_decay=0.9", "`train.ema_decay`"),
        ("train.early_stopping_patience=2", "`train.early_stopping_patience`"),
    ] {
        let message = parse("", &["posterior.method=swag", "model.init=a/b", setting]).unwrap_err();
        assert!(message.contains(key) && message.contains("`swag` needs"), "{message}");
        assert!(parse("", &["model.init=a/b", setting]).is_ok());
    }
    assert!(parse("", &["posterior.method=swag"]).is_ok());
}

#[test]
fn what_only_a_trained_encoder_can_do_is_refused_from_scratch() {
    let message = parse("", &["train.recipe=head"]).unwrap_err();
    assert!(
        message.contains("`train.recipe` is `head`") && message.contains("`--init`"),
        "{message}"
    );
    let message = parse("", &["train.recipe=auto", "data.cross_fit=always"]).unwrap_err();
    assert!(message.contains("`data.cross_fit` is `always`"), "{message}");
    for recipe in ["head", "auto"] {
        let recipe = format!("train.recipe={recipe}");
        assert!(parse("", &["model.init=a/b", "data.cross_fit=always", &recipe]).is_ok());
    }
}

fn parse(text: &str, settings: &[&str]) -> Result<Experiment, String> {
    let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
    Experiment::parse(text, "`test.toml`", &settings).map_err(|error| error.to_string())
}

#[test]
fn a_misspelt_key_is_refused_by_name_with_the_right_one() {
    let message = parse("[train]\nlerning_rate = 1e-4\n", &[]).unwrap_err();
    assert!(message.contains("`train.lerning_rate`"), "{message}");
    assert!(message.contains("did you mean `train.learning_rate`?"), "{message}");
    let message = parse("", &["train.sed=3"]).unwrap_err();
    assert!(message.contains("`train.sed`") && message.contains("`train.seed`"), "{message}");
    assert!(parse("[trian]\nseed = 1\n", &[]).unwrap_err().contains("`trian`"));
}

#[test]
fn a_key_that_this_build_cannot_honour_is_refused_and_not_ignored() {
    let message = parse("[posterior]\nmethod = \"hmc\"\n", &[]).unwrap_err();
    assert!(message.contains("hmc") && message.contains("laplace"), "{message}");
}

#[test]
fn calibration_that_cannot_be_is_refused() {
    for (setting, key) in [
        ("calibration.conformal_alpha=[0.9]", "`calibration.conformal_alpha` contains 0.9"),
        ("calibration.ood_p=2.0", "`calibration.ood_p` is 2"),
        ("calibration.novelty=mutual_information", "point estimate"),
        ("calibration.max_epistemic=0.2", "point estimate"),
        ("calibration.novelty=distance", "relative_mahalanobis"),
    ] {
        let settings = [setting, "posterior.method=map"];
        let message = parse("", &settings).unwrap_err();
        assert!(message.contains(key), "{message}");
    }
    let message = parse("[calibration]\nconformal_alpha = []\nmax_set_size = 1\n", &[]);
    assert!(message.unwrap_err().contains("`calibration.max_set_size` needs prediction sets"));
}

#[test]
fn settings_are_read_by_the_type_of_their_key() {
    let settings =
        ["train.learning_rate=3e-5", "data.dataset=123", "calibration.temperature=false"];
    let experiment = parse("", &settings).unwrap();
    assert_eq!(experiment.train.learning_rate, 3e-5);
    assert_eq!(experiment.data.dataset, "123");
    assert!(!experiment.calibration.temperature);
    let whole = parse("", &["train.learning_rate=1", "train.num_train_epochs=2"]).unwrap();
    assert_eq!((whole.train.learning_rate, whole.train.num_train_epochs), (1.0, 2.0));
    for (setting, says) in [
        ("train.recipe=hed", "`train.recipe` is `hed`; use one of `full`, `head`, `auto`"),
        ("train.early_stopping_patience=-1", "expected a whole number of 0 or more"),
        ("train.early_stopping_patience=-1", "`test.toml`: `train.early_stopping_patience`: "),
        ("train.num_train_epochs=abc", "for `train.num_train_epochs`; give a number"),
        ("publish.language=en", "for `publish.language`; give a list, such as `[\"en\"]`"),
        ("train.ema_decay=true", "expected a number"),
    ] {
        let message = parse("", &[setting]).unwrap_err();
        assert!(message.contains(says), "{setting}: {message}");
    }
    for wrong in ["train.seed=abc", "train.seed", "train=3", "train.learning_rate=-1"] {
        assert!(parse("", &[wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn files_of_every_editor_are_read_or_refused_with_the_encoding() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("e.toml");
    let toml = "name = \"win\"\r\n[publish]\r\ndescription = \"Größen\"\r\n";
    let utf16: Vec<u8> = toml.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin: Vec<u8> = toml.chars().map(|c| u32::from(c) as u8).collect();
    let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
    for bytes in [toml.as_bytes().to_vec(), marked(b"\xef\xbb\xbf", toml.as_bytes())] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Experiment::read(&path, &[]).unwrap().publish.description, "Größen");
    }
    for (bytes, what) in
        [(marked(b"\xff\xfe", &utf16), "UTF-16"), (utf16, "UTF-16"), (latin, "line 3")]
    {
        std::fs::write(&path, bytes).unwrap();
        let message = Experiment::read(&path, &[]).unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("as UTF-8"), "{message}");
        assert!(message.contains("e.toml"), "{message}");
    }
}

#[test]
fn every_key_is_printed_and_what_is_printed_is_the_same_experiment() {
    let experiment = parse(QUICK_START, &[]).unwrap();
    let printed = experiment.to_toml_with_unset();
    for key in ["init", "vocab_size", "norm", "text_column", "label_map", "encoding", "repo"] {
        assert!(printed.contains(key), "{key}: {printed}");
    }
    assert_eq!(parse(&printed, &[]).unwrap(), experiment);
}

#[test]
fn a_map_of_labels_is_written_in_the_file_or_set() {
    let text = "[data]\ndataset = \"a.csv\"\n[data.label_map]\nneg = \"negative\"\n";
    let map = parse(text, &[]).unwrap().data.label_map;
    let set = parse("", &["data.label_map={ neg = \"negative\" }"]).unwrap().data.label_map;
    assert_eq!((map.len(), &map), (1, &set));
    assert!(parse("", &["data.delimiter=ab"]).unwrap_err().contains("`data.delimiter`"));
    assert!(parse("", &["data.encoding=klingon"]).unwrap_err().contains("windows-1252"));
    assert!(parse("", &["data.quoting=some"]).unwrap_err().contains("backslash"));
    assert_eq!(
        parse("", &["data.dataset=\"a \\\"b\\\".csv\""]).unwrap().data.dataset,
        "a \"b\".csv"
    );
    assert_eq!(parse("", &["data.dataset=\"q\".csv"]).unwrap().data.dataset, "\"q\".csv");
}

#[test]
fn a_target_risk_is_a_number_or_a_list_of_them() {
    let levels = |written: &str| {
        let setting = format!("calibration.target_risk={written}");
        parse("", &[&setting]).map(|one| one.calibration.target_risk.ascending())
    };
    assert_eq!(levels("0.05").unwrap(), [0.05]);
    assert_eq!(levels("[0.05, 0.01]").unwrap(), [0.01, 0.05]);
    assert!(levels("0").unwrap().is_empty() && levels("[]").unwrap().is_empty());
    for (wrong, part) in [
        ("[0.1, 2.0]", "`calibration.target_risk` is 2"),
        ("[0, 0.1]", "0 among others"),
        ("'low'", "a number such as 0.02"),
    ] {
        let message = levels(wrong).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    // What was written before there were lists: a file, and a manifest.
    let old = parse("[calibration]\ntarget_risk = 0.1\n", &[]).unwrap();
    assert!(old.to_toml().contains("target_risk = 0.1\n"), "{}", old.to_toml());
    let old: CalibrationConfig = serde_json::from_str("{\"target_risk\": 0.1}").unwrap();
    assert_eq!(old.target_risk.ascending(), [0.1]);
}

#[test]
fn the_words_of_the_card_are_typed_and_checked() {
    let text = "[publish]\nlicense = \"mit\"\nwidget = [\"A text.\"]\npush = \"every_save\"\n\
                repo = \"owner/name\"\n";
    let publish = parse(text, &["publish.language=[\"en\"]"]).unwrap().publish;
    assert_eq!((publish.license.as_str(), publish.language.len()), ("mit", 1));
    let message = parse("[publish]\nlicence = \"mit\"\n", &[]).unwrap_err();
    assert!(message.contains("did you mean `publish.license`?"), "{message}");
    let message = parse("[publish]\npush = \"always\"\n", &[]).unwrap_err();
    assert!(message.contains("every_save"), "{message}");
    let message = parse("", &["publish.push=end"]).unwrap_err();
    assert!(message.contains("`publish.repo`"), "{message}");
}

#[test]
fn the_resolved_file_gives_the_same_experiment() {
    let mut experiment = parse(QUICK_START, &["train.seed=7", "name=other"]).unwrap();
    assert_eq!(experiment.written, ["name", "train.seed"].map(str::to_owned).into());
    experiment.written.clear();
    assert_eq!(parse(&experiment.to_toml(), &[]).unwrap(), experiment);
}

/// An encoder that exists and sizes of a new one exclude each other; what is said last counts.
#[test]
fn an_encoder_replaces_sizes_and_sizes_replace_an_encoder() {
    let init = parse(QUICK_START, &["model.init=some/encoder"]).unwrap().model;
    assert_eq!((init.init.as_deref(), init.hidden_size), (Some("some/encoder"), None));
    let sizes = parse(CLASSIFY, &["model.hidden_size=32"]).unwrap().model;
    assert_eq!((sizes.init, sizes.hidden_size), (None, Some(32)));
    let none = parse(CLASSIFY, &["model.init=none"]).unwrap().model;
    assert_eq!((none.init, none.hidden_size), (None, None));
    let kept = parse(QUICK_START, &["model.init=none"]).unwrap().model;
    assert_eq!((kept.init, kept.hidden_size), (None, Some(64)));
    let both = parse(CLASSIFY, &["model.init=none", "model.hidden_size=32"]).unwrap().model;
    assert_eq!((both.init, both.hidden_size), (None, Some(32)));
    for text in ["[model]\ninit = \"a/b\"\nhidden_size = 8\n", ""] {
        let message = parse(text, &["model.init=a/b", "model.hidden_size=8"]).unwrap_err();
        assert!(message.contains("give only one of the two"), "{message}");
    }
    assert!(parse("[model]\ninit = \"a/b\"\nhidden_size = 8\n", &[]).is_err());
}

#[test]
fn every_file_in_configs_is_a_valid_experiment() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        Experiment::read(&entry.unwrap().path(), &[]).unwrap();
        files += 1;
    }
    assert!(files >= 3);
}
