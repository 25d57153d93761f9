use super::*;

/// Rows as `(split, label, rows)`.
fn occurring(rows: &[(&str, &str, u64)]) -> Occurring {
    let mut occurring = Occurring::new();
    for (place, &(split, label, rows)) in rows.iter().enumerate() {
        let one = occurring.entry(label.to_owned()).or_default();
        one.rows.insert(split.to_owned(), rows);
        let (path, line) = (format!("{split}.csv"), place as u64 + 2);
        one.first = Place { path, line, column: "team".to_owned() };
    }
    occurring
}

fn with(
    rows: &[(&str, &str, u64)],
    names: &[&str],
    config: &DataConfig,
) -> Result<Classes, String> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    settle(&occurring(rows), &names, "set", config).map_err(|error| error.to_string())
}

fn settled(rows: &[(&str, &str, u64)], names: &[&str]) -> Classes {
    with(rows, names, &DataConfig::default()).unwrap()
}

fn warned(classes: &Classes, what: &str) -> bool {
    classes.remarks.iter().any(|one| matches!(one, Remark::Warning(text) if text.contains(what)))
}

fn fate(classes: &Classes, written: &str) -> Option<String> {
    match classes.fates[written] {
        Fate::Class(id) => Some(classes.names[id as usize].clone()),
        Fate::OutOfScope => None,
    }
}

#[test]
fn spellings_that_are_certainly_one_are_one() {
    for (rows, classes) in [
        (&[("train", "1.0", 40), ("train", "0.0", 40), ("test", "1", 5)][..], &["0", "1"][..]),
        (&[("train", "1", 40), ("train", "2", 40), ("train", "1.0", 3)], &["1", "2"]),
        (
            &[("train", "True", 40), ("train", "false", 40), ("train", "true", 5)],
            &["True", "false"],
        ),
        (
            &[("train", "spam", 40), ("train", "ham", 40), ("train", "spam\u{200b}", 3)],
            &["ham", "spam"],
        ),
        (
            &[("train", "very good", 9), ("train", "bad", 9), ("train", "very  good ", 3)],
            &["bad", "very good"],
        ),
        (&[("train", "['spam']", 40), ("train", "['ham']", 40)], &["ham", "spam"]),
    ] {
        let found = settled(rows, &[]);
        assert_eq!(found.names, classes, "{rows:?}");
        assert!(
            !found.remarks.iter().any(|one| matches!(one, Remark::Warning(_))),
            "{:?}",
            found.remarks
        );
    }
    // Versions are no numbers.
    let found =
        settled(&[("train", "v1.0", 20), ("train", "1.0", 20), ("train", "other", 20)], &[]);
    assert_eq!(found.names, ["1.0", "other", "v1.0"]);
}

#[test]
fn spellings_that_may_be_one_are_said_with_the_key() {
    for (one, other) in [
        ("Spam", "spam"),
        ("café", "cafe"),
        ("01", "1"),
        ("0", "-0"),
        ("not-spam", "not spam"),
        ("q&a", "q&amp;a"),
        ("spam", "\"spam\""),
        ("spam", "#Spam."),
    ] {
        let rows = [("train", one, 30), ("train", other, 4), ("train", "else", 30)];
        let found = settled(&rows, &[]);
        assert_eq!(found.names.len(), 3);
        assert!(warned(&found, "`data.label_map`") && warned(&found, other), "{:?}", found.remarks);
        let label_map = [(other.to_owned(), one.to_owned())].into();
        let found = with(&rows, &[], &DataConfig { label_map, ..DataConfig::default() }).unwrap();
        assert_eq!((found.names.len(), fate(&found, other)), (2, Some(one.to_owned())));
    }
}

#[test]
fn a_label_without_a_training_row_is_a_class_that_it_looks_like_or_none() {
    let rows = [("train", "a", 40), ("train", "b", 40), ("test", "A", 5), ("validation", "new", 7)];
    let found = settled(&rows, &[]);
    assert_eq!(found.names, ["a", "b"]);
    assert_eq!((fate(&found, "A"), fate(&found, "new")), (Some("a".to_owned()), None));
    assert!(warned(&found, "`new`") && warned(&found, "7 rows"), "{:?}", found.remarks);
    let found = settled(&[("test", "a", 4), ("test", "b", 4)], &[]);
    assert_eq!((found.names.len(), found.remarks.len()), (2, 0), "a test without training");
    let found =
        settled(&[("train", "0", 9), ("train", "1", 9), ("test", "2", 1)], &["x", "y", "z"]);
    assert!(found.names.len() == 3 && warned(&found, "`z`"), "{:?}", found.remarks);
}

#[test]
fn lists_and_measures_are_refused_with_place_or_key() {
    let refused = |rows: &[(&str, &str, u64)]| with(rows, &[], &DataConfig::default()).unwrap_err();
    for label in ["['a', 'b']", r#"["a","b"]"#, "[]", "[0, 1, 0]"] {
        let message = refused(&[("train", "['a']", 9), ("test", label, 1)]);
        assert!(message.contains("test.csv") && message.contains("line 3"), "{message}");
    }
    let prices: Vec<String> = (0..60).map(|i| format!("{}.{:02}", i / 7, i)).collect();
    let rows: Vec<_> = prices.iter().map(|price| ("train", &**price, 2)).collect();
    let message = refused(&rows);
    assert!(message.contains("fractions") && message.contains("`data.label_column`"), "{message}");
    let ids: Vec<String> = (0..60).map(|i| format!("T-{i}")).collect();
    let rows: Vec<_> = ids.iter().map(|id| ("train", &**id, 1)).collect();
    assert!(refused(&rows).contains("`data.label_column`"));
    let years: Vec<String> = (1980..2010).map(|year| year.to_string()).collect();
    let rows: Vec<_> = years.iter().map(|year| ("train", &**year, 5)).collect();
    assert!(warned(&settled(&rows, &[]), "30 classes in 150 rows, which are numbers"));
    // Half stars are classes.
    let stars: Vec<_> = ["1.0", "1.5", "2.0"].iter().map(|star| ("train", *star, 50)).collect();
    assert_eq!(settled(&stars, &[]).names, ["1", "1.5", "2"]);
}

/// Of ratings 1 to 5 a file may hold some that are places as well as names.
#[test]
fn integers_that_could_be_places_or_names_are_told_of() {
    let names = ["1", "2", "3", "4", "5"];
    let rows = |labels: &'static [&'static str]| {
        labels.iter().map(|label| ("train", *label, 9)).collect::<Vec<_>>()
    };
    let found = settled(&rows(&["1", "2", "3", "4"]), &names);
    assert_eq!(fate(&found, "4"), Some("4".to_owned()));
    assert!(warned(&found, "could be places") && warned(&found, "`data.label_map`"));
    let label_map = [("1", "2"), ("2", "3")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    let map = DataConfig { label_map: label_map.into(), ..DataConfig::default() };
    let found = with(&rows(&["1", "2"]), &names, &map).unwrap();
    assert_eq!(fate(&found, "1"), Some("2".to_owned()), "what it says to do works");
    assert!(!warned(&found, "could be places"), "{:?}", found.remarks);
    let label_map = [("1", "1"), ("2", "2")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    let map = DataConfig { label_map: label_map.into(), ..DataConfig::default() };
    let found = with(&rows(&["1", "2"]), &names, &map).unwrap();
    assert_eq!(fate(&found, "1"), Some("1".to_owned()), "and so does the other");
    assert!(!warned(&found, "could be places"), "{:?}", found.remarks);
    // One of them is no place, or each is at its own.
    let clear: [(&'static [&'static str], &[&str]); 3] =
        [(&["1", "2", "5"], &names), (&["0", "1"], &["0", "1", "2"]), (&["a", "b"], &["b", "a"])];
    for (labels, names) in clear {
        let found = settled(&rows(labels), names);
        assert!(!warned(&found, "could be places"), "{:?}", found.remarks);
    }
}

#[test]
fn integers_are_places_in_a_list_unless_they_are_its_names() {
    let stars = ["1", "2", "3", "4", "5"];
    let rows: Vec<_> = stars.iter().map(|star| ("train", *star, 20)).collect();
    let found = settled(&rows, &stars);
    assert_eq!((found.names.len(), fate(&found, "5")), (5, Some("5".to_owned())));
    let names = ["negative", "positive"];
    let found = settled(&[("train", "0", 9), ("train", "1.0", 9)], &names);
    assert_eq!(fate(&found, "1.0"), Some("positive".to_owned()));
    let config = DataConfig::default();
    let message = with(&[("train", "1", 9), ("train", "2", 9)], &names, &config).unwrap_err();
    assert!(message.contains("train.csv") && message.contains("from 1"), "{message}");
    let message =
        with(&[("train", "0", 9), ("train", "1", 9), ("train", "-1", 9)], &names, &config);
    assert!(message.unwrap_err().contains("`-1`"));
    let found = settled(&[("train", "negative", 9), ("train", "mixed", 9)], &names);
    assert!(
        found.names == ["mixed", "negative"] && warned(&found, "`mixed`"),
        "{:?}",
        found.remarks
    );
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let config = DataConfig::default();
    let message = with(&[("train", "0", 9), ("train", "1", 9)], &["a", "a "], &config).unwrap_err();
    assert!(message.contains("`a`"), "{message}");
}

#[test]
fn what_looks_missing_joined_or_single_is_said() {
    let rows = [("train", "a", 9), ("train", "b", 9), ("train", "a|b", 9), ("train", "N/A", 1)];
    let found = settled(&rows, &[]);
    assert_eq!(found.names.len(), 4);
    for what in
        ["`a|b` looks like several", "`N/A` is treated as a class", "`N/A` has only one row"]
    {
        assert!(warned(&found, what), "{what}: {:?}", found.remarks);
    }
    let rows = [("train", "a", 1), ("train", "b", 1), ("train", "c", 9)];
    assert!(warned(&settled(&rows, &[]), "`a`, `b` have only one row each"));
    let rows = [("train", "a;b", 9), ("train", "a; c", 9), ("train", "b;c", 9)];
    assert!(warned(&settled(&rows, &[]), "`a; c`, `a;b`, `b;c` look like several"));
    let rows = [("train", "a", 9), ("train", "b#a", 9), ("train", "b", 9)];
    assert!(warned(&settled(&rows, &[]), "`b#a` looks like several"));
    let rows = [("train", "Sci/Tech", 9), ("train", "Sport", 9), ("train", "no, never", 9)];
    assert!(settled(&rows, &[]).remarks.is_empty());
    let found = settled(&[("train", "19", 9), ("train", "-7", 9), ("train", "100", 9)], &[]);
    assert!(found.names == ["-7", "19", "100"] && found.remarks.is_empty(), "{:?}", found.remarks);
}

#[test]
fn a_map_takes_a_number_in_every_writing() {
    let all = |map: &[(&str, &str)], rows: &[(&str, &str, u64)]| {
        let label_map = map.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        with(rows, &[], &DataConfig { label_map, ..DataConfig::default() }).unwrap()
    };
    let rows = [("train", "1", 20), ("train", "2", 20), ("train", "a", 20)];
    for key in ["1.0", "1", " 1", "1.00"] {
        let found = all(&[(key, "a")], &rows);
        assert_eq!(found.names, ["2", "a"], "{key}");
        assert_eq!(fate(&found, "1").as_deref(), Some("a"), "{key}");
        assert!(!warned(&found, "no row has that label"), "{key}");
    }
    // Two writings of one label, each with a name of its own, and both with the same.
    let rows = [("train", "1", 20), ("train", "1.0", 20), ("train", "2", 20)];
    let found = all(&[("1", "a"), ("1.0", "b")], &rows);
    assert_eq!(["1", "1.0"].map(|one| fate(&found, one).unwrap()), ["a", "b"]);
    assert!(!warned(&found, "no row has that label"), "{:?}", found.remarks);
    let rows = [("train", "1", 20), ("train", "2", 20)];
    let found = all(&[("1", "a"), ("1.0", "a")], &rows);
    assert!(!warned(&found, "no row has that label"), "{:?}", found.remarks);
    let found = all(&[("3.0", "a")], &rows);
    assert!(warned(&found, "no row has that label"), "{:?}", found.remarks);
}

#[test]
fn labels_that_are_exchanged_are_said() {
    let all = |map: &[(&str, &str)]| {
        let rows = [("train", "neg", 20), ("train", "neutral", 20), ("train", "pos", 20)];
        let label_map = map.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        let found = with(&rows, &[], &DataConfig { label_map, ..DataConfig::default() }).unwrap();
        found.remarks.iter().map(|one| one.text().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let said = all(&[("neg", "pos"), ("pos", "neg")]);
    assert!(said.contains("`neg` is read as the label `pos`"), "{said}");
    assert!(said.contains("`pos` is read as the label `neg`"), "{said}");
    let said = all(&[("neg", "neutral"), ("neutral", "pos"), ("pos", "neg")]);
    assert_eq!(said.matches("is read as").count(), 3, "{said}");
    // One alone takes a name that no row has.
    assert_eq!(all(&[("neg", "negative")]), "");
}

#[test]
fn labels_with_marks_or_letters_that_are_written_as_two_are_said_and_stay_apart() {
    for (one, other) in [
        ("neg", "neg*"),
        ("neg", "**neg**"),
        ("neg", "(neg)"),
        ("neg", "neg!"),
        ("neg", "neg?"),
        ("Neg", "neg (?)"),
        ("neg", "neg†"),
        ("straße", "Strasse"),
        ("œuvre", "oeuvre"),
        ("Ægir", "aegir"),
        ("løp", "lop"),
        ("Łódź", "lodz"),
    ] {
        let found = settled(&[("train", one, 20), ("train", other, 20), ("train", "x", 20)], &[]);
        assert!(warned(&found, "look alike but are 2 classes"), "{one} {other}");
        assert_eq!(found.names.len(), 3, "{one} {other}");
    }
    for (one, other) in [
        ("A", "A*"),
        ("B", "B+"),
        ("C", "C++"),
        ("<5 years", ">5 years"),
        ("5", "5*"),
        (":)", ":("),
        ("!important", "important"),
        ("dog (wild)", "dog (tame)"),
        ("AAA", "AAA+"),
    ] {
        let found = settled(&[("train", one, 20), ("train", other, 20), ("train", "x", 20)], &[]);
        assert!(!warned(&found, "look alike"), "{one} {other}");
    }
}

#[test]
fn a_map_that_renames_nothing_is_said() {
    let label_map =
        [("neg".to_owned(), "negative".to_owned()), ("po".to_owned(), "p".to_owned())].into();
    let config = DataConfig { label_map, ..DataConfig::default() };
    let found = with(&[("train", "neg", 9), ("train", "pos", 9)], &[], &config).unwrap();
    assert_eq!(found.names, ["negative", "pos"]);
    assert!(warned(&found, "`po`"), "{:?}", found.remarks);
}

#[test]
fn a_model_knows_its_classes_better_than_a_few_rows() {
    let model_labels: Vec<String> = (0..40).map(|i| format!("intent {i}")).collect();
    let config = DataConfig { model_labels, ..DataConfig::default() };
    let labels: Vec<String> = (0..30).map(|i| format!("Intent_{i}")).collect();
    let rows: Vec<_> = labels.iter().map(|label| ("train", &**label, 1)).collect();
    let found = with(&rows, &[], &config).unwrap();
    assert!(found.names.contains(&"intent 7".to_owned()) && found.names.len() == 30);
    assert!(
        found.remarks.iter().any(|one| one.text().contains("`Intent_7`")),
        "{:?}",
        found.remarks
    );
    let found = with(&[("train", "intent 3", 5)], &[], &config).unwrap();
    assert_eq!(found.names, ["intent 3"]);
    assert!(with(&[("train", "other", 5)], &[], &config).is_err());
    // A class of the model that the training rows beside do not have.
    let rows = [("train", "intent 3", 5), ("test", "intent 4", 5), ("test", "new", 1)];
    let found = with(&rows, &[], &config).unwrap();
    assert_eq!((found.names.len(), fate(&found, "new")), (2, None));
}

#[test]
fn answers_in_several_ways_are_said() {
    for labels in [
        &["True", "1", "False", "0"][..],
        &["true", "False", "1"],
        &["yes", "no", "1", "0"],
        &["y", "n", "yes"],
        &["True", "False", "1", "unknown"],
        &["True", "1.0", "False"],
    ] {
        let rows: Vec<_> = labels.iter().map(|label| ("train", *label, 20)).collect();
        assert!(warned(&settled(&rows, &[]), "may all mean yes"), "{labels:?}");
    }
    for labels in [
        &["True", "False"][..],
        &["1", "0"],
        &["yes", "no", "unknown"],
        &["t", "y", "z"],
        &["1", "2", "3"],
    ] {
        let rows: Vec<_> = labels.iter().map(|label| ("train", *label, 20)).collect();
        let found = settled(&rows, &[]);
        assert!(!warned(&found, "may all mean"), "{labels:?}: {:?}", found.remarks);
    }
    let rows = [("train", "True", 50), ("train", "1", 5), ("train", "False", 50)];
    assert!(warned(&settled(&rows, &[]), "`{ \"1\" = \"True\" }`"));
}

#[test]
fn numbers_with_commas_are_said_to_be_like_others_or_several_labels() {
    let rows = [("train", "1,000", 20), ("train", "1000", 20), ("train", "500", 20)];
    assert!(warned(&settled(&rows, &[]), "`1,000`, `1000` look alike"));
    let rows =
        [("train", "YES", 30), ("train", "Yes", 20), ("train", "yes", 20), ("train", "x", 9)];
    assert!(warned(&settled(&rows, &[]), "`{ \"Yes\" = \"YES\", \"yes\" = \"YES\" }`"));
    let rows = [("train", "1.5", 20), ("train", "\"1,5\"", 30)];
    assert!(warned(&settled(&rows, &[]), r#"`{ "1.5" = '"1,5"' }`"#));
    let rows = ["3,10", "3,20", "4,10", "4,20"].map(|label| ("train", label, 20));
    assert!(warned(&settled(&rows, &[]), "or like numbers with a comma"));
    let rows = ["a,b", "a,c", "d,b", "d,c"].map(|label| ("train", label, 20));
    let found = settled(&rows, &[]);
    assert!(warned(&found, "look like several labels") && !warned(&found, "with a comma"));
    let prices: Vec<String> = (0..40).map(|i| format!("{i},{:02}", 3 * i)).collect();
    let rows: Vec<_> = prices.iter().map(|price| ("train", &**price, 1)).collect();
    let message = with(&rows, &[], &DataConfig::default()).unwrap_err();
    assert!(message.contains("numbers with fractions"), "{message}");
}

#[test]
fn too_few_classes_are_refused_with_what_was_found_and_what_does_not_count() {
    let rows = [("train", "a", 9), ("train", "b", 9)];
    let outside = DataConfig { ood_label: "b".to_owned(), ..DataConfig::default() };
    let message = with(&rows, &[], &outside).unwrap_err();
    let says = "only one label, `a`; you need at least two besides `b` (`data.ood_label`)";
    assert!(message.ends_with(says), "{message}");
    let message = with(&[], &[], &DataConfig::default()).unwrap_err();
    assert!(message.ends_with("has no rows with a label; add rows of at least two classes"));
}

#[test]
fn a_class_without_a_name_is_refused() {
    let rows = [("train", "0", 40), ("train", "1", 40), ("train", "2", 40)];
    let usual = DataConfig::default();
    let error = with(&rows, &["a", " \u{200b}", "c"], &usual).unwrap_err();
    assert!(error.contains("class 1 of `"), "{error}");
    let map = [("1".to_owned(), String::new())].into();
    let error = with(&rows, &[], &DataConfig { label_map: map, ..usual.clone() }).unwrap_err();
    assert!(error.contains("`data.label_map` renames `1` to an empty name"), "{error}");
    let lists = [("train", r#"["a"]"#, 40), ("train", r#"[""]"#, 40), ("train", r#"["b"]"#, 40)];
    let error = with(&lists, &[], &usual).unwrap_err();
    assert!(error.contains("train.csv` line 3: column `team` is empty"), "{error}");
}

#[test]
fn a_number_that_stands_for_no_label_is_said_and_one_of_a_scale_is_not() {
    let said = |labels: &[&str], mark: &str| {
        let rows: Vec<_> = labels.iter().map(|&label| ("train", label, 40)).collect();
        warned(&settled(&rows, &[]), &format!("`{mark}` is treated as a class; if it means"))
    };
    for (labels, mark) in [
        (&["-1", "0", "1", "2"][..], "-1"),
        (&["-1.0", "0.0", "1.0", "2.0"], "-1"),
        (&["-1.0", "ham", "spam"], "-1.0"),
        (&["-1", "1", "2", "3", "4", "5"], "-1"),
        (&["-100", "0", "1"], "-100"),
        (&["-99", "1", "2", "3"], "-99"),
        (&["-9999", "a", "b"], "-9999"),
        (&["no label", "a", "b"], "no label"),
        (&["Un-labelled", "a", "b"], "Un-labelled"),
        (&["unlabeled", "a", "b"], "unlabeled"),
        (&["undefined", "0", "1"], "undefined"),
        (&["NaT", "a", "b"], "NaT"),
        (&[".", "a", "b"], "."),
        (&["—", "a", "b"], "—"),
        (&["…", "a", "b"], "…"),
        (&["???", "a", "b"], "???"),
        (&["missing", "a", "b"], "missing"),
        (&["un-assigned", "a", "b"], "un-assigned"),
    ] {
        assert!(said(labels, mark), "{labels:?}");
    }
    for labels in [
        &["-1", "0", "1"][..],
        &["-1", "1"],
        &["-1", "0"],
        &["-2", "-1", "0", "1", "2"],
        &["-1", "0.5", "2"],
        &["-100", "0", "100"],
        &["-100", "-50", "0"],
        &["99", "0", "1"],
        &["unknown", "a", "b"],
    ] {
        assert!(!said(labels, labels[0]), "{labels:?}");
    }
}

#[test]
fn arrays_of_postgresql_are_lists_where_all_labels_are_in_braces() {
    let usual = DataConfig::default();
    let rows = |labels: [&'static str; 2]| labels.map(|label| ("train", label, 40));
    let one = settled(&rows(["{billing}", "{\"of them\"}"]), &[]);
    assert_eq!(one.names, ["billing", "of them"]);
    for (labels, count) in [
        (["{billing,tech}", "{tech}"], "2"),
        (["{}", "{tech}"], "0"),
        (["{}", "tech"], "0"),
        (["set()", "{'tech'}"], "0"),
        (["()", "('tech',)"], "0"),
    ] {
        let error = with(&rows(labels), &[], &usual).unwrap_err();
        assert!(error.contains(&format!("is a list of {count}")), "{labels:?} {error}");
    }
    // A name of its own.
    assert_eq!(settled(&rows(["{billing}", "tech"]), &[]).names, ["tech", "{billing}"]);
    assert_eq!(settled(&rows(["()", "tech"]), &[]).names, ["()", "tech"]);
}

#[test]
fn a_label_out_of_scope_that_is_renamed_is_still_out_of_scope() {
    let config = |asked: &str| DataConfig {
        ood_label: asked.to_owned(),
        label_map: [("none of these".to_owned(), "other".to_owned())].into(),
        ..DataConfig::default()
    };
    let names = ["billing", "none of these", "tech"];
    let written = [("train", "0", 40), ("train", "1", 40), ("train", "2", 40)];
    let named = names.map(|name| ("train", name, 40));
    for asked in ["none of these", "other", "1"] {
        for (rows, names) in [(&written, &names[..]), (&named, &[][..])] {
            if asked == "1" && names.is_empty() {
                continue;
            }
            let found = with(rows, names, &config(asked)).unwrap();
            assert_eq!(found.names, ["billing", "tech"], "{asked} {rows:?}");
        }
    }
}
