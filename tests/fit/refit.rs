//! The last layer that is fitted after a training, against the trained one.

use super::*;

/// Texts with a number of their own behind them, as tickets have: an encoder from scratch learns the numbers of its
/// training rows by heart, and a last layer that is fitted to these rows alone counts on them.
#[test]
fn a_last_layer_that_is_worse_on_held_out_rows_is_not_taken() {
    let home = Home::new();
    let mut state = 31u64;
    let mut below = |most: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let (major, minor) =
        (["alpha", "beta", "gamma", "delta"], ["beta", "gamma", "epsilon", "zeta"]);
    let mut table = "text,label\n".to_owned();
    for _ in 0..3000 {
        let rare = below(10) == 0;
        for _ in 0..6 {
            let words = if rare && below(10) < 6 { minor } else { major };
            table += words[below(4) as usize];
            table.push(' ');
        }
        table += &format!("{},{}\n", below(10_000), if rare { "minor" } else { "major" });
    }
    home.write("numbers.csv", table);
    let arguments =
        ["train", "numbers.csv", "--init", "none", "--json", "--set", "train.max_steps=60"];
    let output = home.run(&arguments);
    assert!(output.status.success(), "{}", home::text(&output.stderr));
    let (report, said) =
        (json(&home::text(&output.stdout)), home::text(&output.stderr).replace("\n    ", " "));
    assert_eq!(report["head_kept"], true, "{said}");
    assert!(said.contains("is worse on the validation rows than the trained one"), "{said}");
    let accuracy = report["test"]["accuracy"]["value"].as_f64().unwrap();
    assert!(accuracy > 0.87, "{accuracy}");
}
