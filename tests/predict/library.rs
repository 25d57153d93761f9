//! What `bayes predict` does is there for a user of the library.

use bayes::compute::Backend;
use bayes::data::Overrides;
use bayes::predict::Predictor;
use bayes::predict::stream::{
    Event, Input, Options, Order, Predictions, Sink, SortBy, StreamError, Summary,
};

use super::home::{Home, tickets};

const MODEL: &str = "checkpoints/tickets/model";

#[test]
fn a_table_is_predicted_to_the_table_that_the_command_writes() {
    let home = Home::new();
    home.train_tiny(&[]);
    let input = home.write("in.csv", tickets(1500).replacen("\n", "\n,billing\n", 1));
    let predictor = Predictor::load(&home.path(MODEL), &Backend::Cpu).unwrap();
    for (name, order, flags) in [
        ("out.csv", Order::AsRead, &[][..]),
        ("out.jsonl", Order::Sorted(SortBy::Confidence), &["--sort-by", "confidence"]),
        ("out.parquet", Order::AsRead, &[]),
    ] {
        let expected = home.path(&format!("expected-{name}"));
        let files = ["predict", "--input", input.to_str().unwrap(), "--output"];
        home.done(&[&files[..], &[expected.to_str().unwrap()], flags].concat());

        let output = home.path(name);
        let read = Input::file(&input, &predictor, &Overrides::default()).unwrap();
        let options = Options { order, fails: false };
        let mut predictions = Predictions::new(&predictor, read, options).unwrap();
        let mut sink = Sink::create(&output, &predictions).unwrap();
        let (mut events, mut batches) = (Vec::new(), 0);
        while let Some(batch) = predictions.next_batch(&mut |event| events.push(event)).unwrap() {
            batch.iter().for_each(|row| sink.write(row).unwrap());
            batches += 1;
        }
        assert!(!output.exists(), "a table that is not whole is not there");
        sink.finish().unwrap();
        assert!(std::fs::read(&output).unwrap() == std::fs::read(&expected).unwrap(), "{name}");
        assert_eq!(batches, if order == Order::AsRead { 2 } else { 1 });
        let fault = format!("`{}` line 2: the text is empty", input.display());
        assert_eq!(events, [Event::Fault(fault.clone())]);
        let summary = Summary { rows: 1501, faults: 1, first_fault: fault, ..Summary::default() };
        assert_eq!(*predictions.finish().unwrap(), summary);
    }
}

#[test]
fn texts_and_lines_are_classified_or_their_faults_said() {
    let home = Home::new();
    home.train_tiny(&[]);
    let predictor = Predictor::load(&home.path(MODEL), &Backend::Cpu).unwrap();
    let labels = |input: Input<'_>, fails| {
        let options = Options { order: Order::AsRead, fails };
        let mut predictions = Predictions::new(&predictor, input, options)?;
        let mut labels = Vec::new();
        while let Some(batch) = predictions.next_batch(&mut |_| {})? {
            let label = |prediction: bayes::predict::Prediction| {
                predictor.labels()[prediction.label].clone()
            };
            labels.extend(batch.into_iter().map(|(_, prediction)| prediction.map(label)));
        }
        predictions.finish()?;
        Ok::<_, StreamError>(labels)
    };
    let texts = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Input::texts(texts, &predictor).unwrap()
    };
    let lines = b"my router is broken\r\rthe invoice\n".as_slice();
    let lines = Input::lines(Box::new(lines), "lines", &predictor, &Overrides::default()).unwrap();
    let expected = [Ok("technical".to_owned()), Ok("billing".to_owned())];
    assert_eq!(labels(lines, true).unwrap(), expected);
    let found = labels(texts(&["the invoice", " "]), false).unwrap();
    assert_eq!(found, [Ok("billing".to_owned()), Err("the text is empty".to_owned())]);
    for (input, fails, says) in [
        (texts(&["the invoice", " "]), true, "text 2: the text is empty"),
        (texts(&[" "]), false, "none of 1 row could be classified: text 1: the text is empty"),
    ] {
        assert_eq!(labels(input, fails).unwrap_err().to_string(), says);
    }
    assert_eq!(labels(texts(&[]), true).unwrap(), []);
}
