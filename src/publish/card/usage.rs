//! How to use the model: two snippets that run as they stand, and texts to try.

use super::Card;
use super::numbers::code;
use crate::artifact::INTEGERS;
use crate::compute::Precision;
use crate::model::Entailment;
use crate::posterior::OwnDoubt;
use crate::task::Task;

/// Made up for this purpose; none is from a data set.
const TEXTS: [(&str, [&str; 2]); 6] = [
    (
        "reviews",
        [
            "A dull first act, but the ending was moving.",
            "The acting was superb and the music gripping.",
        ],
    ),
    (
        "imdb",
        [
            "I went in expecting little and left the cinema smiling; the two leads carry it.",
            "Ninety minutes of people explaining the plot to each other in the rain.",
        ],
    ),
    ("sst2", ["a small film with a large heart", "it never finds a reason to exist"]),
    ("cola", ["The baker gave her neighbour a loaf.", "The baker gave loaf a neighbour her."]),
    (
        "clinc_oos",
        ["could you wake me at half past six tomorrow", "move twenty euros to my savings"],
    ),
    (
        "ag_news",
        [
            "Striker signs a three-year contract after a season without injuries",
            "Chip maker opens a second plant as orders rise",
        ],
    ),
];

/// The second text of the pair in a snippet.
const SECOND: &str = "The text that goes with it";

impl Card<'_> {
    /// Texts to try the model with.
    pub(super) fn widget(&self) -> Vec<String> {
        if !self.config.widget.is_empty() {
            return self.config.widget.clone();
        }
        let known = self.source.known().map_or("", |known| known.name);
        let own = TEXTS.iter().find(|(name, _)| *name == known);
        own.map_or_else(Vec::new, |(_, texts)| texts.map(str::to_owned).to_vec())
    }

    /// One of them, for the snippets.
    fn example(&self) -> String {
        let text = self.widget().into_iter().next();
        let text = text.unwrap_or_else(|| "Your own text here".to_owned());
        text.replace(['\n', '\r'], " ")
    }

    /// The columns of both texts, for a model of pairs.
    fn pair_columns(&self) -> Option<[&str; 2]> {
        let data = self.source.artifact.manifest.data.as_ref()?;
        let text = if data.text_column.is_empty() { "text" } else { &data.text_column };
        (!data.text_pair_column.is_empty()).then_some([text, &data.text_pair_column])
    }

    fn takes_pairs(&self) -> bool {
        self.pair_columns().is_some()
    }

    /// What the model is called where it is loaded from.
    fn place(&self) -> String {
        self.repo.unwrap_or("OWNER/NAME").to_owned()
    }

    /// In plain Python: the mean prediction.
    pub(super) fn with_transformers(&self) -> String {
        let artifact = &self.source.artifact;
        if artifact.manifest.precision == Precision::Int8 {
            return format!("{INTEGERS}.");
        }
        let scaling = &artifact.posterior.scaling;
        let fitted = scaling.vector.is_none() && !artifact.posterior.has_own_layer();
        // The other networks of an ensemble are not asked here, and its temperature is nearer to that of one.
        let alone =
            artifact.manifest.fit.point_temperature.filter(|_| artifact.networks().is_none());
        let divide = match alone.unwrap_or(scaling.temperature) {
            temperature if fitted && temperature != 1.0 => format!("logits / {temperature:.6}"),
            _ => "logits".to_owned(),
        };
        // Text in JSON is text in Python.
        let (place, mut text) = (json(&self.place()), json(&self.example()));
        if self.takes_pairs() {
            text += &format!(", {}", json(SECOND));
        }
        let most = artifact.manifest.preprocessing.max_length;
        if self.own_head() {
            return self.with_sentence_transformers(&divide);
        }
        let asked = artifact.manifest.zero_shot.as_ref().zip(artifact.entailment());
        if let Some((zero_shot, Entailment { class, .. })) = asked {
            let labels = json_list(&artifact.manifest.labels);
            return format!(
                "```python\nimport torch\nfrom transformers import AutoModelForSequenceClassification, \
                 AutoTokenizer\n\nname = {place}\n\
                 tokenizer = AutoTokenizer.from_pretrained(name)\n\
                 model = AutoModelForSequenceClassification.from_pretrained(name).eval()\n\
                 labels = {labels}\n\
                 hypotheses = [{}.replace(\"{{}}\", label) for label in labels]\n\
                 inputs = tokenizer([{text}] * len(labels), hypotheses, truncation=\"only_first\", \
                 max_length={most}, padding=True, return_tensors=\"pt\")\n\
                 with torch.no_grad():\n    logits = model(**inputs).logits[:, {class}]\n\
                 probabilities = ({divide}).softmax(-1)\n\
                 print(labels[int(probabilities.argmax())], round(float(probabilities.max()), 4))\n\
                 ```\n\n{}",
                json(&zero_shot.template),
                self.what_that_is()
            );
        }
        format!(
            "```python\nimport torch\nfrom transformers import AutoModelForSequenceClassification, \
             AutoTokenizer\n\nname = {place}\n\
             tokenizer = AutoTokenizer.from_pretrained(name)\n\
             model = AutoModelForSequenceClassification.from_pretrained(name).eval()\n\
             inputs = tokenizer({text}, truncation=True, max_length={most}, return_tensors=\"pt\")\n\
             with torch.no_grad():\n    logits = model(**inputs).logits[0]\n\
             {}\n```\n\n{}",
            self.decided(&divide),
            self.what_that_is()
        )
    }

    /// From logits, as they are divided, to what is printed, in Python.
    fn decided(&self, divide: &str) -> String {
        let labels = json_list(&self.source.artifact.manifest.labels);
        match self.task() {
            Task::SingleLabel => format!(
                "probabilities = ({divide}).softmax(-1)\nlabels = {labels}\n\
                 print(labels[int(probabilities.argmax())], round(float(probabilities.max()), 4))"
            ),
        }
    }

    /// With a head of our own: transformers would put another one in its place.
    fn with_sentence_transformers(&self, divide: &str) -> String {
        let text = match self.takes_pairs() {
            true => format!("[{}, {}]", json(&self.example()), json(SECOND)),
            false => json(&self.example()),
        };
        format!(
            "transformers does not implement this model's head: \
             `AutoModelForSequenceClassification` would load it but return different predictions. \
             The folder is also a sentence-transformers model whose embeddings are the logits.\n\n\
             ```python\nimport torch\nfrom sentence_transformers import SentenceTransformer\n\n\
             model = SentenceTransformer({})\nlogits = torch.tensor(model.encode([{text}])[0])\n\
             {}\n```\n\n{}",
            json(&self.place()),
            self.decided(divide),
            self.what_that_is()
        )
    }

    /// What plain Python computes, and what it leaves out.
    fn what_that_is(&self) -> String {
        let artifact = &self.source.artifact;
        let most = artifact.manifest.preprocessing.max_length;
        let cut = match artifact.manifest.preprocessing.truncation.name() {
            "head" => String::new(),
            "tail" => {
                " When a text is too long, transformers keeps only its beginning, whereas `bayes` \
                 keeps only its end. Predictions for long texts therefore differ."
                    .to_owned()
            }
            _ => format!(
                " When a text is too long, transformers keeps only its beginning, whereas `bayes` \
                 fills the first quarter of the {most} tokens from the beginning of the text and \
                 the rest from its end. Predictions for long texts therefore differ."
            ),
        };
        let vector = if artifact.posterior.scaling.vector.is_some() {
            " The factors and offsets of the classes are not applied here."
        } else {
            ""
        };
        let pair = if self.takes_pairs() { " The model takes pairs of texts." } else { "" };
        if artifact.posterior.fourier.is_some() {
            return format!(
                "This is the prediction of a stand-in: a linear layer fitted to the same rows. `bayes` \
                 predicts with a different layer, over random Fourier features, which only it has; labels \
                 and probabilities may differ.{cut}{pair}\n"
            );
        }
        if artifact.posterior.wide.is_some() {
            return format!(
                "This is the prediction of a stand-in, a linear layer on the feature alone. `bayes` predicts with \
                 a different layer, which reads the means of hidden states {} as well and which only it has; \
                 labels and probabilities may differ.{cut}{pair}\n",
                artifact.posterior.states().words()
            );
        }
        let what = match artifact.networks() {
            Some(count) => format!(
                "This is the prediction of the first of the model's {count} networks alone: plain \
                 Python sees no other. The mean of all, which `bayes` computes, is what the \
                 results above are about; the temperature was fitted to it."
            ),
            None => {
                let scaled = artifact.posterior.is_scaled();
                format!(
                    "This is the prediction of the {}{}, without the remaining uncertainty.",
                    artifact.manifest.transformers,
                    if scaled { " with temperature scaling" } else { "" }
                )
            }
        };
        format!("{what}{cut}{vector}{pair}\n")
    }

    /// With `bayes`: everything.
    pub(super) fn with_bayes(&self) -> String {
        let artifact = &self.source.artifact;
        let place = self.place();
        let ask = match self.pair_columns() {
            None => format!("bayes predict --model {place} {}", shell(&self.example())),
            Some([text, pair]) => {
                let row = serde_json::json!({ text: self.example(), pair: SECOND }).to_string();
                format!("echo {} | bayes predict --model {place} --format jsonl", shell(&row))
            }
        };
        let calibration = &artifact.calibration;
        let printed = match calibration.limits {
            Some(_) => "the label, its probability, the uncertainty, and accept or abstain",
            None => "the label, its probability and the uncertainty",
        };
        let added = [
            (artifact.posterior.own_doubt() == OwnDoubt::Known, "the two parts of the uncertainty"),
            (calibration.conformal.is_some(), "the prediction set"),
            (calibration.novelty.is_some(), "the novelty p-value"),
        ];
        let added: Vec<&str> =
            added.into_iter().filter(|(has, _)| *has).map(|(_, what)| what).collect();
        let added = match added.split_last() {
            None => "prints the result as JSON".to_owned(),
            Some((last, [])) => format!("adds {last}"),
            Some((last, others)) => format!("adds {} and {last}", others.join(", ")),
        };
        format!(
            "```sh\n{ask}\n```\n\nIt prints {printed}. {} {added}; {} answers over HTTP.\n",
            code("--json"),
            code(&format!("bayes serve --model {place}"))
        )
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json_list(list: &[String]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

/// A word of a POSIX shell.
fn shell(text: &str) -> String {
    if text.contains(['"', '$', '`', '\\', '!']) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Form;

    #[test]
    fn a_text_is_one_word_of_a_shell() {
        assert_eq!(shell("a b"), "\"a b\"");
        assert_eq!(shell("it's $5"), r"'it'\''s $5'");
    }

    #[test]
    fn every_known_data_set_of_single_texts_has_some_to_try() {
        let names: Vec<&str> = TEXTS.iter().map(|(name, _)| *name).collect();
        let mut single = crate::data::all_known().filter(|known| known.form == Form::Plain);
        assert!(single.all(|known| names.contains(&known.name)));
    }
}
