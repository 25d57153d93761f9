use super::super::answers::tests::answers;
use super::*;
use crate::calibrate::conformal::ConformalMethod;
use crate::evaluate::Link;
use crate::metrics::entropy;
use crate::posterior::softmax;

#[test]
fn what_is_written_is_read_again_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut second = answers();
    second.model = "b".to_owned();
    for row in &mut second.rows {
        (row.aleatoric, row.epistemic, row.set, row.novelty) = (None, None, None, None);
        row.total = entropy(&row.probability_c);
    }
    (second.alpha, second.bound_rows) = (None, None);
    (second.link, second.set_method) = (Some(Link::Scaled), None);
    for name in ["a.jsonl", "a.parquet", "a.csv", "a.tsv"] {
        let path = folder.path().join(name);
        write(&path, &[&answers(), &second]).unwrap();
        let (found, remarks) = read(&path).unwrap();
        assert_eq!((found, remarks), (vec![answers(), second.clone()], vec![]), "{name}");
    }
}

#[test]
fn models_with_other_labels_need_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let mut other = answers();
    other.labels.reverse();
    assert!(matches!(write(&path, &[&answers(), &other]), Err(FileError::Labels)));
    assert!(!path.exists());
}

#[test]
fn a_damaged_cell_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    write(&path, &[&answers()]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, what) in [
        ("\"row\":20", "\"row\":\"x\"", "line 3: column `row` must be a whole number"),
        ("\"seen\":true", "\"seen\":1", "line 3: column `seen` must be true or false"),
        ("\"truncated\":true", "\"truncated\":null", "line 5: column `truncated` must be text"),
        ("\"temperature\"", "\"heat\"", "line 1: column `temperature` must be a number"),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text);
        std::fs::write(&path, damaged).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn a_file_that_does_not_say_how_many_answers_it_has_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    write(&path, &[&answers()]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let older: Vec<String> =
        text.lines().map(|line| line.replace("\"rows\":", "\"other\":")).collect();
    std::fs::write(&path, older[..older.len() - 1].join("\n")).unwrap();
    let (all, remarks) = read(&path).unwrap();
    assert_eq!((all[0].rows.len(), remarks.len()), (older.len() - 1, 0));
}

/// The lines of a written file, each of which is changed.
fn damaged(change: impl Fn(&mut Vec<String>)) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let second = Answers { model: "b".to_owned(), ..answers() };
    write(&path, &[&answers(), &second]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let before = lines.clone();
    change(&mut lines);
    assert_ne!(lines, before);
    std::fs::write(&path, lines.join("\n")).unwrap();
    match read(&path) {
        Ok((_, remarks)) => Ok(remarks.iter().map(|remark| remark.text().to_owned()).collect()),
        Err(error) => Err(error.to_string()),
    }
}

/// One key of an object takes the value of another, and the other way round.
fn swapped(line: &str, [one, other]: [&str; 2]) -> String {
    let mut object: serde_json::Value = serde_json::from_str(line).unwrap();
    (object[one], object[other]) = (object[other].clone(), object[one].clone());
    object.to_string()
}

#[test]
fn lines_that_contradict_themselves_or_others_are_refused_with_their_number() {
    let p = ["p.billing, \"old\"", "p.technical.support"];
    let replaced = |line: usize, from: &'static str, to: &'static str| {
        move |lines: &mut Vec<String>| lines[line - 1] = lines[line - 1].replacen(from, to, 1)
    };
    type Change<'a> = Box<dyn Fn(&mut Vec<String>) + 'a>;
    let cases: Vec<(Change<'_>, &'static str)> = vec![
        (
            Box::new(|lines| lines.insert(3, lines[0].clone())),
            "line 4: the row 0 also occurs in line 1",
        ),
        (
            Box::new(|lines| lines.push(lines[10].clone())),
            "line 25: the text of `recipes, \"easy\"` 100 also occurs in line 11",
        ),
        (Box::new(|lines| lines[4] = swapped(&lines[4], p)), "line 5: `technical.support` was"),
        (
            Box::new(replaced(
                2,
                "\"p.technical.support\":0",
                "\"p.technical.support\":null,\"x\":0",
            )),
            "line 2: column `p.technical.support`",
        ),
        (Box::new(replaced(3, ":0.41", ":0.31")), "line 3: the columns `p.…` add up to 0."),
        (Box::new(replaced(3, ":0.41", ":-0.41")), "line 3: `p.billing, \"old\"` is -0.41"),
        (Box::new(replaced(3, ":0.25", ":0.5")), "line 3: the columns `truth.…` add up to 1.25"),
        (Box::new(replaced(6, "\"tickets\"", "\"others\"")), "line 6: `dataset` is `others`"),
        (
            Box::new(replaced(6, "\"test\"", "\"train\"")),
            "line 6: `split` is `train`, but in line 1",
        ),
        (Box::new(replaced(20, "1.1", "1.2")), "line 20: `temperature` is `1.2`, but in line 13"),
        (
            Box::new(replaced(13, "technical.support\",\"pred", "x\",\"pred")),
            "line 13: column `label`",
        ),
        (
            Box::new(replaced(14, ":\"billing, \\\"old\\\"\"", ":\"technical.support\"")),
            "line 14: row 10 has the label `technical.support`, but in line 2 `billing, \"old\"`",
        ),
        (
            Box::new(replaced(7, "\"novelty_p\":0.1", "\"novelty_p\":1.1")),
            "line 7: column `novelty_p`",
        ),
        (Box::new(replaced(7, "\"total\":0", "\"total\":null,\"x\":0")), "line 7: column `total`"),
        (
            Box::new(replaced(
                2,
                "\"[\\\"technical.support",
                "\"[\\\"technical.support\\\",\\\"technical.support",
            )),
            "line 2: `set` contains a class twice",
        ),
    ];
    let told = |(change, expected): (Change<'_>, &'static str)| {
        let message = damaged(change).err().unwrap_or_default();
        let told = message.contains(expected) && message.contains("a.jsonl` line");
        (!told).then(|| format!("{expected}: {message}"))
    };
    let untold: Vec<String> = cases.into_iter().filter_map(told).collect();
    assert!(untold.is_empty(), "{untold:#?}");
}

/// The same rows by a model without a posterior, whose sets have a bound for each class.
fn plain() -> Answers {
    let mut answers = answers();
    (answers.link, answers.set_method) = (Some(Link::Softmax), Some(ConformalMethod::Mondrian));
    for row in &mut answers.rows {
        row.probability_c = softmax(&row.logit_c, answers.temperature);
        row.total = entropy(&row.probability_c);
        (row.aleatoric, row.epistemic) = (None, None);
        let p = &row.probability_c;
        let classes = [(1, p[1] >= 0.6), (0, p[0] >= 0.3)].into_iter();
        row.set = Some(classes.filter(|(_, is_in)| *is_in).map(|(class, _)| class).collect());
    }
    answers
}

/// What is said of answers of which one is changed.
fn said(mut answers: Answers, change: impl Fn(&mut Answers)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    change(&mut answers);
    write(&path, &[&answers]).unwrap();
    read(&path).map_or_else(
        |error| error.to_string(),
        |(found, _)| {
            assert_eq!(found, [answers]);
            String::new()
        },
    )
}

type Change = Box<dyn Fn(&mut Answers)>;

#[test]
fn numbers_of_one_answer_that_contradict_each_other_are_refused_with_both() {
    assert_eq!(said(plain(), |_| {}), "");
    assert_eq!(said(answers(), |_| {}), "");
    let row = |change: fn(&mut Answer)| -> Change { Box::new(move |a| change(&mut a.rows[3])) };
    let all = |change: fn(&mut Answer)| -> Change {
        Box::new(move |a| a.rows.iter_mut().for_each(change))
    };
    let cases: Vec<(Answers, Change, &str)> = vec![
        (plain(), row(|row| row.total -= 0.01), "line 5: `total` is 0.64"),
        (plain(), row(|row| row.total = 0.7), "the entropy of 2 classes is from 0 to 0.693"),
        (answers(), row(|row| row.total = -0.1), "`total` is -0.1, but the entropy of 2 classes"),
        (plain(), row(|row| row.logit_c.swap(0, 1)), "`p.billing, \"old\"` is 0.36"),
        (
            plain(),
            row(|row| row.logit_c[1] += 0.01),
            "but the logits and the temperature 1.1 give 0.36",
        ),
        (answers(), row(|row| row.epistemic = Some(0.0)), "add up to 0.06"),
        (
            answers(),
            row(|row| {
                row.aleatoric = row.aleatoric.map(|aleatoric| aleatoric + 0.1);
                row.epistemic = row.epistemic.map(|epistemic| epistemic - 0.1);
            }),
            "`epistemic` is -0.0",
        ),
        (answers(), row(|row| row.epistemic = None), "one of `aleatoric` and `epistemic` is empty"),
        (
            answers(),
            all(|row| (row.aleatoric, row.epistemic) = (None, None)),
            "but `link` is `mean_field`",
        ),
        (
            plain(),
            all(|row| (row.aleatoric, row.epistemic) = (Some(row.total), Some(0.0))),
            "not empty, but `link` is `softmax`",
        ),
        (answers(), Box::new(|a| a.link = Some(Link::Mean)), "line 2: `total` is 0.07"),
        (
            plain(),
            Box::new(|a| a.rows[8].set = Some(vec![])),
            "line 10: `set` does not contain `technical.support` (p = 0.81",
        ),
        (
            plain(),
            Box::new(|a| a.rows[8].set = Some(vec![1, 0])),
            "line 10: `set` has `billing, \"old\"` (p = 0.18",
        ),
        (plain(), Box::new(|a| a.rows[8].set = Some(vec![])), "the class is in one in line 5"),
        (plain(), row(|row| row.set = Some(vec![0, 1])), "before `technical.support`"),
        (
            answers(),
            row(|row| row.set = Some(vec![0])),
            "but not `technical.support`, which is more probable",
        ),
        (answers(), row(|row| row.set = None), "`set` is empty, but `alpha` is not"),
        (answers(), Box::new(|a| a.alpha = None), "`alpha` is empty, but `set` is not"),
        (
            answers(),
            row(|row| row.novelty = None),
            "`novelty` is empty, but in line 2, of the same model, it is not",
        ),
    ];
    let untold = |(answers, change, expected): (Answers, Change, &str)| {
        let message = said(answers, change);
        let told = message.contains(expected) && message.contains("a.csv` line");
        (!told).then(|| format!("{expected}: {message}"))
    };
    let untold: Vec<String> = cases.into_iter().filter_map(untold).collect();
    assert!(untold.is_empty(), "{untold:#?}");
}

#[test]
fn one_bound_for_all_classes_is_one() {
    let one = |bound: f64| {
        said(plain(), |answers| {
            answers.set_method = Some(ConformalMethod::Lac);
            for row in &mut answers.rows {
                let p = &row.probability_c;
                let classes = [1, 0].into_iter().filter(|&class| p[class as usize] >= bound);
                row.set = Some(classes.collect());
            }
            if bound < 0.3 {
                answers.rows[0].set = Some(vec![1]);
            }
        })
    };
    assert_eq!(one(0.6), "");
    let message = one(0.2);
    assert!(message.contains("`set` has `billing, \"old\"` (p = "), "{message}");
    assert!(message.contains("a class is in none in line 2"), "{message}");
}

#[test]
fn what_is_of_no_class_has_no_label_and_a_score_has_its_p_value() {
    for (line, from, to, expected) in [
        (11, "\"label\":null", "\"label\":\"technical.support\"", "`label` is `technical.support`"),
        (11, "\"seen\":null", "\"seen\":false", "`seen` is `false`"),
        // A flag where the name of a source should be.
        (
            2,
            "\"ood\":null",
            "\"ood\":false",
            "`ood` is `false`, so the text belongs to no class, but `label`",
        ),
        (
            2,
            "\"novelty_p\":0.1",
            "\"novelty_p\":null",
            "`novelty_p` is empty, but `novelty` is not",
        ),
    ] {
        let changed =
            |lines: &mut Vec<String>| lines[line - 1] = lines[line - 1].replacen(from, to, 1);
        let message = damaged(changed).unwrap_err();
        assert!(
            message.contains(&format!("line {line}: ")) && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn a_file_that_does_not_say_how_its_probabilities_were_made_is_read_with_a_warning() {
    let remarks = damaged(|lines| {
        for line in lines {
            *line = line.replace("\"link\":\"mean_field\",\"set_method\":\"aps\",", "");
        }
    });
    let remarks = remarks.unwrap();
    assert!(remarks.len() == 2 && remarks[0].contains("is not checked"), "{remarks:?}");
    for (from, expected) in [("mean_field", "softmax, scaled, mean or"), ("aps", "lac, mondrian,")]
    {
        let other = |lines: &mut Vec<String>| lines[0] = lines[0].replacen(from, "other", 1);
        let message = damaged(other).unwrap_err();
        assert!(message.contains("line 1: column `") && message.contains(expected), "{message}");
    }
}

#[test]
fn answers_that_are_missing_are_said() {
    let some = damaged(|lines| drop(lines.drain(14..))).unwrap();
    assert!(some[0].contains("contains 2 predictions of `b`, but 12 were written"), "{some:?}");
    assert!(some[1].contains("has different rows of `b`"), "{some:?}");
    let both = damaged(|lines| lines.retain(|line| !line.contains("\"row\":20,"))).unwrap();
    assert!(both.len() == 2 && both[0].contains("contains 11 predictions of"), "{both:?}");
    let mixed = damaged(|lines| lines.swap(0, 1)).unwrap();
    assert!(mixed.len() == 1 && mixed[0].contains("in a different order"), "{mixed:?}");
}

#[test]
fn a_column_that_stands_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    write(&path, &[&answers()]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(",logit.technical", ",p.technical", 1)).unwrap();
    let message = read(&path).unwrap_err().to_string();
    assert!(message.contains("the column `p.technical.support` occurs twice"), "{message}");
}

/// JSON has no such numbers, and text has.
#[test]
fn a_number_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tsv");
    write(&path, &[&answers()]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let place = text.lines().next().unwrap().split('\t').position(|name| name == "total").unwrap();
    for number in ["inf", "-inf", "NaN"] {
        let mut lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split('\t').collect()).collect();
        lines[3][place] = number;
        let lines: Vec<String> = lines.iter().map(|cells| cells.join("\t")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("line 4: column `total` must be a number"), "{number}: {message}");
    }
}
