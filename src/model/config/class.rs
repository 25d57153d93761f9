//! The classes of transformers that a `config.json` says its weights are of: `architectures`.

use serde_json::{Map, Value};

use super::EncoderConfig;

/// How classes are called that give one label to a text.
pub(super) const CLASSIFIER: &str = "ForSequenceClassification";
/// Ends of the names of classes that encoders are trained with at first. Their heads are of no interest to anybody.
const PRETRAINING: [&str; 3] = ["ForMaskedLM", "ForPreTraining", "LMHeadModel"];
/// Before the names of classes of other frameworks.
const FRAMEWORKS: [&str; 2] = ["TF", "Flax"];

/// The names in a list, or the only one.
pub(super) fn classes(source: &Map<String, Value>) -> Vec<&str> {
    match source.get("architectures") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The first class with a head that gives no label to a text, where none of them has one that does. Whether `BertModel`
/// and names that transformers does not have carry a classifier is for their tensors to say.
pub(super) fn other_head<'a>(classes: &[&'a str]) -> Option<&'a str> {
    if classes.iter().any(|class| class.ends_with(CLASSIFIER)) {
        return None;
    }
    classes.iter().copied().find(|class| class.contains("For") || class.contains("LMHead"))
}

impl EncoderConfig {
    /// A class with the head of another task than text classification, which training leaves behind.
    pub fn head_of_other_task(&self) -> Option<&str> {
        let class = other_head(&classes(&self.source))?;
        (!PRETRAINING.iter().any(|end| class.ends_with(end))).then_some(class)
    }

    /// A class that transformers does not have for this family: who wrote it may mean another network.
    pub fn class_of_nobody(&self) -> Option<&str> {
        let is_own = |class: &&str| {
            let framework = FRAMEWORKS.iter().find_map(|framework| class.strip_prefix(framework));
            let rest = framework.unwrap_or(class).strip_prefix(self.architecture.class);
            rest.is_some_and(|rest| {
                rest.starts_with("For")
                    || ["Model", "PreTrainedModel", "LMHeadModel"].contains(&rest)
            })
        };
        classes(&self.source).into_iter().find(|class| !is_own(class))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(architectures: &Value) -> EncoderConfig {
        let file = json!({"model_type": "bert", "architectures": architectures});
        let Value::Object(file) = file else { unreachable!() };
        EncoderConfig::from_json(file).unwrap()
    }

    #[test]
    fn a_head_of_another_task_is_known_by_its_class_however_it_is_written() {
        for (architectures, refused, told) in [
            (json!(["BertForTokenClassification"]), true, true),
            (json!("BertForTokenClassification"), true, true),
            (json!(["BertModel", "BertForQuestionAnswering"]), true, true),
            (json!(["BertForMultipleChoice"]), true, true),
            (json!(["BertForNextSentencePrediction"]), true, true),
            (json!(["TFBertForTokenClassification"]), true, true),
            (json!(["BertForMaskedLM"]), true, false),
            (json!(["BertLMHeadModel"]), true, false),
            (json!(["BertForSequenceClassification"]), false, false),
            (json!(["BertModel", "BertForSequenceClassification"]), false, false),
            (json!(["BertModel"]), false, false),
            (json!(["MyCustomBert"]), false, false),
            (json!([]), false, false),
            (json!(null), false, false),
        ] {
            let found = read(&architectures);
            assert_eq!(found.unusable_head.is_some(), refused, "{architectures}");
            assert_eq!(found.head_of_other_task().is_some(), told, "{architectures}");
        }
    }

    #[test]
    fn a_class_that_transformers_does_not_have_is_named() {
        for (architectures, nobodys) in [
            (json!(["MyCustomBert"]), Some("MyCustomBert")),
            (json!(["BertCustom"]), Some("BertCustom")),
            (json!("SentimentNet"), Some("SentimentNet")),
            (json!(["RobertaForSequenceClassification"]), Some("RobertaForSequenceClassification")),
            (json!(["BertForSequenceClassification"]), None),
            (json!(["TFBertForSequenceClassification"]), None),
            (json!(["FlaxBertModel"]), None),
            (json!(["BertPreTrainedModel"]), None),
            (json!(null), None),
        ] {
            assert_eq!(read(&architectures).class_of_nobody(), nobodys, "{architectures}");
        }
    }
}
