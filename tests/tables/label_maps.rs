//! Labels under other names.

use super::home::{Home, TINY, text};
use super::{plan, rows};

#[test]
fn a_label_map_that_cannot_be_meant_is_refused() {
    let home = Home::new();
    home.write("eq.csv", "text,label\n".to_owned() + &rows(80, ",", ["a=b", "c"]));
    for (map, says) in [
        (&["--label-map", "a=b=x"][..], "several `=`"),
        (&["--label-map", "c=x,c=y"], "renames `c` twice, to `x` and to `y`"),
        (&["--label-map", "c=x", "--label-map", "c=y"], "renames `c` twice"),
        (
            &["--set", "data.label_map={ c = \"x\" }", "--set", "data.label_map={ d = \"y\" }"],
            "`data.label_map` (`--label-map`) is set twice",
        ),
    ] {
        let message = plan(&home, "eq.csv", map).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
    let (found, _) =
        plan(&home, "eq.csv", &["--label-map", "\"a=b\"=x,c=d", "--label-map", "c=d"]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["d", "x"]));
    let seeds = ["--set", "train.seed=1", "--set", "train.seed=2"];
    let (_, said) = plan(&home, "eq.csv", &seeds).unwrap();
    assert!(
        said.contains("`train.seed` is set twice, to `1` and to `2`; the last one counts"),
        "{said}"
    );
}

/// The label map of a training is of its files: whether another file means the same is asked.
#[test]
fn a_label_map_of_the_training_that_other_rows_are_read_without_is_said() {
    let home = Home::new();
    let table = "text,label\n".to_owned() + &rows(240, ",", ["fine", "not good"]);
    let [data, other] = ["t.csv", "other.csv"].map(|name| home.write(name, table.clone()));
    let [data, other] = [&data, &other].map(|path| path.to_str().unwrap());
    let map = "fine=not good,not good=fine";
    let train = |name: &str, more: &[&str]| {
        let name = format!("name={name}");
        let own = ["train", data, "--quiet", "--set", &name];
        home.done(&[&own[..], more, &TINY].concat());
    };
    train("plain", &[]);
    train("mapped", &["--label-map", map]);
    let [plain, mapped] = ["plain", "mapped"].map(|name| format!("checkpoints/{name}/model"));
    let said = |arguments: &[&str]| -> Vec<String> {
        let output = home.run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stderr).replace("\n    ", " ");
        lines.lines().filter(|line| line.contains("was trained with")).map(str::to_owned).collect()
    };
    let eval = |models: &[&str], more: &[&str]| {
        said(&[&["eval", "--no-baseline", "--model"][..], models, more].concat())
    };
    let flag = "`--label-map 'fine=not good,not good=fine'`";
    for found in [
        eval(&[&mapped], &["--dataset", other]),
        eval(&[&plain, &mapped], &["--dataset", other]),
        eval(&[&mapped, &plain], &["--dataset", other]),
        said(&["fit", "--model", &mapped, "--dataset", other, "--output", "fitted/model"]),
    ] {
        let [line] = &found[..] else { panic!("{found:?}") };
        let what = format!(
            "`{mapped}` was trained with `data.label_map` (`--label-map`), which is not applied to `{other}`"
        );
        assert!(line.contains(&what) && line.contains(flag), "{line}");
    }
    // Rows that are read as in the training of the first model, and another one.
    let found = eval(&[&mapped, &plain], &[]);
    let [line] = &found[..] else { panic!("{found:?}") };
    assert!(
        line.contains(&format!("`{plain}` was trained with another `data.label_map`")),
        "{line}"
    );
    assert!(line.contains("`--label-map 'fine=fine,not good=not good'`"), "{line}");
    // Its own file, a map that a person gave, and files without these labels.
    assert!(eval(&[&mapped], &[]).is_empty());
    assert!(eval(&[&mapped, &plain], &["--dataset", other, "--label-map", map]).is_empty());
    assert!(eval(&[&plain], &["--dataset", other]).is_empty());
    train("named", &["--label-map", "fine=good,not good=bad"]);
    let named = "checkpoints/named/model";
    let good = home.write("good.csv", table.replace(",fine", ",good").replace(",not good", ",bad"));
    assert!(eval(&[named], &["--dataset", good.to_str().unwrap()]).is_empty());
    // A name that is no class any more is refused, after the flag that helps.
    let message = home.refused(&["eval", "--no-baseline", "--model", named, "--dataset", other]);
    assert!(message.contains("--label-map 'fine=good,not good=bad'"), "{message}");
    // Texts of no class, under names of either kind.
    let outside = "text,label\nstir the soup,fine\nlet it rest,cooking\n";
    let outside = home.write("outside.csv", outside);
    let output =
        home.run(&["eval", "--no-baseline", "--model", named, "--ood", outside.to_str().unwrap()]);
    let message = text(&output.stderr).replace("\n    ", " ");
    assert!(
        message.contains("of which the training renamed `fine` (`data.label_map` (`--label-map`))"),
        "{message}"
    );
}

#[test]
fn a_label_that_meant_out_of_scope_in_training_is_named_as_such() {
    let home = Home::new();
    let table = "text,label\n".to_owned()
        + &rows(240, ",", ["x", "y"])
        + &rows(20, ",", ["other", "other"]).replace("ticket", "letter");
    let data = home.write("t.csv", &table);
    let data = data.to_str().unwrap();
    home.done(&[&["train", data, "--quiet", "--set", "data.ood_label=other"], &TINY[..]].concat());
    let again = home.write("again.csv", &table);
    let again = again.to_str().unwrap();
    for command in [&["eval", "--no-baseline"][..], &["fit", "--output", "fitted/model"]] {
        let more = ["--model", "checkpoints/t/model", "--dataset", again];
        let message = home.refused(&[command, &more].concat());
        assert!(message.contains("`other`, which meant out of scope"), "{message}");
        assert!(message.contains("--label-map other=NAME"), "{message}");
    }
    let plain = home.write("plain.csv", table.replace(",other", ",elsewhere"));
    let message = home.refused(&["eval", "--dataset", plain.to_str().unwrap()]);
    assert!(message.contains("does not know"), "{message}");
}
