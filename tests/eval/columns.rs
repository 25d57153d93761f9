//! Models that were trained on different columns of the same tables.

use crate::home::{Home, TINY, text};

/// Rows with two texts each, of which the second one tells the label.
fn rows(count: usize, header: &str) -> String {
    let mut csv = format!("{header}\n");
    for row in 0..count {
        let (word, label) = [("lamp", "home"), ("rope", "boat")][row % 2];
        csv += &format!("case number {row} of today,my {word} number {row} broke,{label}\n");
    }
    csv
}

#[test]
fn a_model_that_is_asked_about_another_column_than_its_own_is_named() {
    let home = Home::new();
    let data = home.write("both.csv", rows(240, "text,body,label"));
    let train = |name: &str, more: &[&str]| {
        let name = format!("name={name}");
        let own = ["train", data.to_str().unwrap(), "--set", &name];
        let output = home.run(&[&own[..], more, &TINY].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr).replace("\n    ", " ")
    };
    train("a", &["--text-column", "text"]);
    train("b", &["--text-column", "body"]);
    let [a, b] = ["checkpoints/a/model", "checkpoints/b/model"];
    let new = home.write("new.csv", rows(60, "text,body,label"));
    let other = home.write("other.csv", rows(60, "text,remark,label"));
    let [new, other] = [&new, &other].map(|path| path.to_str().unwrap());
    let eval = |more: &[&str]| {
        let output = home.run(&[&["eval", "--no-baseline"][..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr).replace("\n    ", " ")
    };
    let said = format!(
        "`{b}` was trained with the columns text = `body`, which `{new}` has too, but it is asked about text = `text`"
    );
    assert!(eval(&["--model", a, b, "--dataset", new]).contains(&said));
    let turned = eval(&["--model", b, a, "--dataset", new]);
    assert!(
        turned.contains(&format!("`{a}` was trained with the columns text = `text`")),
        "{turned}"
    );
    // On the data that both were trained on too.
    assert!(eval(&["--model", a, b]).contains("text = `body`, which"));
    for quiet in [
        &["--model", a, "--dataset", new][..],
        &["--model", b, "--dataset", new],
        &["--model", a, b, "--dataset", other],
        &["--model", a, b, "--dataset", new, "--text-column", "body"],
    ] {
        let said = eval(quiet);
        assert!(!said.contains("was trained with the columns"), "{quiet:?}: {said}");
    }

    // A teacher is asked about the column that its student reads.
    let dropout = ["--set", "posterior.method=mc_dropout", "--set", "posterior.num_samples=3"];
    train("teacher", &[&["--text-column", "body"][..], &dropout].concat());
    let teacher = "train.teacher=checkpoints/teacher/model";
    let student = |name: &str, column: &str| {
        train(
            name,
            &["--text-column", column, "--set", teacher, "--set", "posterior.method=distil"],
        )
    };
    let said = student("one", "text");
    assert!(
        said.contains("the teacher `teacher` was trained with the columns text = `body`"),
        "{said}"
    );
    let said = student("two", "body");
    assert!(!said.contains("was trained with the columns"), "{said}");
}
