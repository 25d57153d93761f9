//! The numbers that layers multiply.

use bayes::compute::Precision;
use serde_json::Value;

use crate::home::{Home, text};

fn confidence(output: &[u8]) -> (String, f64) {
    let answer: Value = serde_json::from_str(&text(output)).unwrap();
    (answer["label"].to_string(), answer["confidence"].as_f64().unwrap())
}

#[test]
fn a_precision_is_near_f32_and_said_or_refused_with_what_the_cpu_lacks() {
    let home = Home::new();
    home.train_tiny(&[]);
    let ask = |precision: &str| {
        home.run(&["predict", "--json", "--precision", precision, "my router is broken"])
    };
    let (label, exact) = confidence(&ask("f32").stdout);
    for precision in Precision::ALL.into_iter().filter(|&one| one != Precision::F32) {
        let output = ask(&precision.to_string());
        let told = text(&output.stderr);
        if let Err(why) = precision.check() {
            assert_eq!(output.status.code(), Some(2));
            let flag = format!("--precision {precision}");
            assert!(told.contains(&why) && told.contains(&flag), "{told}");
            continue;
        }
        assert!(told.contains("were fitted in f32"), "{told}");
        let (same, found) = confidence(&output.stdout);
        assert_eq!(label, same);
        assert!(exact != found && (exact - found).abs() < 0.02, "{precision}: {exact} {found}");
        // A report says what its figures are of.
        let eval = ["eval", "--no-baseline", "--precision", &precision.to_string()];
        let heading = format!("test, {precision}: ");
        assert!(home.done(&eval).contains(&heading), "{heading}");
        let report: Value =
            serde_json::from_str(&home.done(&[&eval[..], &["--json"]].concat())).unwrap();
        assert_eq!(report["precision"], precision.to_string());
        // The environment says it for all commands that predict.
        let mut command = home.command(&["predict", "--json", "my router is broken"]);
        let output = command.env("BAYES_PRECISION", precision.to_string()).output().unwrap();
        assert_eq!(confidence(&output.stdout).1, found);
    }
}
