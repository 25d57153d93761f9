//! A student that was distilled from a teacher of several passes.

use super::*;
use bayes::compute::Backend;

fn student() -> &'static (Place, TrainReport) {
    MODELS.iter().find(|(place, _)| place.method == Method::Distil).unwrap()
}

/// The mean variance of the logits of these texts; of passes, that of their points.
fn mean_variance(predictor: &Predictor, texts: &[&str]) -> f64 {
    let texts: Vec<_> = texts.iter().map(|&text| (text, None)).collect();
    let found = predictor.predict(&texts, &mut |_| {}).unwrap();
    let of_one = |logits: &LogitDistribution| match logits {
        LogitDistribution::Samples { logit_mc, classes } => {
            let root: Vec<f64> = logits
                .mean()
                .iter()
                .enumerate()
                .flat_map(|(class, mean)| {
                    let own = logit_mc.iter().skip(class).step_by(*classes);
                    own.map(move |logit| logit - mean).collect::<Vec<_>>()
                })
                .collect();
            centred(&root, *classes) / (logit_mc.len() / classes - 1) as f64
        }
        gaussian => variance(gaussian, 3),
    };
    found.iter().map(|one| of_one(&one.logits)).sum::<f64>() / found.len() as f64
}

/// Where the teacher's networks disagree the student is uncertain, in one pass.
#[test]
fn a_student_has_learned_what_its_teacher_disagrees_about() {
    let (place, _) = student();
    let [teacher, student] = [TEACHER.model(), place.model()]
        .map(|model| Predictor::load(&model, &Backend::Cpu).unwrap());
    assert_eq!((teacher.forward_passes(), student.forward_passes()), (3, 1));
    let clear = ["the oven is on the plate number 3", "the rake is behind the hedge number 8"];
    let mixed = ["the oven is on the hedge number 3", "the bolt is under the seed number 8"];
    let growth = |one: &Predictor| mean_variance(one, &mixed) / mean_variance(one, &clear);
    let (of_teacher, of_student) = (growth(&teacher), growth(&student));
    assert!(of_teacher > 1.0 && of_student > 1.0, "{of_teacher} {of_student}");
}

#[test]
fn a_student_says_who_taught_it_and_what_the_teacher_had_seen() {
    let (place, report) = student();
    let manifest = artifact::manifest_of(&place.model()).unwrap().unwrap();
    let teacher = manifest.fit.teacher.as_ref().unwrap();
    assert_eq!((teacher.method, teacher.passes), (Method::Ensemble, 3));
    assert_eq!(report.posterior.teacher.as_ref(), Some(teacher));
    assert_eq!(manifest.lineage[0].name, "things");
    // The same rows and the same seed: the same parts, so nothing was seen that is measured by.
    let of_teacher = artifact::manifest_of(&TEACHER.model()).unwrap().unwrap();
    assert_eq!(manifest.parts, of_teacher.parts);
    assert!(manifest.lineage_known && manifest.seen_in_test == of_teacher.seen_in_test);
}

#[test]
fn unlabelled_texts_are_learned_from_and_a_changed_teacher_is_another_run() {
    let place = Place::new(Method::Distil, &[]);
    let known = artifact::manifest_of(&student().0.model()).unwrap().unwrap();
    let origin = Origin::of(&known, None).unwrap();
    let parts = own_parts(&known, origin.dataset(), known.data.as_ref().unwrap()).unwrap();
    let tested = parts.test.examples(origin.dataset()).next().unwrap().clone();
    let texts: String = (0..30).map(|row| format!("the shed is under the oven {row}\n")).collect();
    let texts = format!("{}\n{texts}", tested.text);
    fs::write(place.path("more.csv"), format!("text\n{texts}")).unwrap();
    let more = format!("data.unlabelled={}", place.path("more.csv").display());
    place.finish(&[&more]);
    assert!(place.files() != student().0.files());
    // They are known again, as rows that trained it.
    let manifest = artifact::manifest_of(&place.model()).unwrap().unwrap();
    let example = |text: &str| Example { text: text.to_owned(), pair: None, label: 0 };
    let [old, new] =
        ["The shed is  under the oven 7", "the shed is under the oven 70"].map(example);
    // But for the one that the test part has: the training left it out.
    let seen = || Origin::of(&manifest, None)?.seen(&[&new, &old, &tested]);
    assert_eq!(seen(), Ok(vec![1]));
    fs::write(place.path("more.csv"), format!("text\n{texts}once more a rake\n")).unwrap();
    let error = place.refused(&[&more]);
    assert!(error.contains("the rows of the `unlabelled` split differ"), "{error}");
    assert!(matches!(seen(), Err(OriginError::Changed { .. })), "{:?}", seen());
}

#[test]
fn who_cannot_teach_is_refused() {
    let place = Place::new(Method::Distil, &[]);
    let map = MODELS.iter().find(|(place, _)| place.method == Method::Map).unwrap();
    let one = format!("train.teacher={}", map.0.model().display());
    let message = place.refused(&[&one]);
    assert!(message.contains("answers in one pass") && message.contains("`map`"), "{message}");
    let message = place.refused(&["data.label_map={ garage = \"shed\" }", "name=other"]);
    assert!(message.contains("knows `garage` and does not know `shed`"), "{message}");
    let settings = ["posterior.method=distil".to_owned()];
    let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
    assert!(message.contains("give its folder with `train.teacher`"), "{message}");
    let settings = ["train.recipe=auto", "train.teacher=x", "posterior.method=distil"];
    let settings = settings.map(str::to_owned).into_iter().chain(["model.init=x".to_owned()]);
    let settings: Vec<String> = settings.collect();
    let message = Experiment::parse("", "test", &settings).unwrap_err().to_string();
    assert!(message.contains("set `train.recipe` to `full`"), "{message}");
}
