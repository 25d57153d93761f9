//! Names that columns have in the tables of strangers, and what they hold under them.

/// Names of texts; an earlier one is preferred.
pub(super) const TEXTS: [&str; 25] = [
    "text",
    "sentence",
    "review",
    "content",
    "body",
    "message",
    "comment",
    "document",
    "description",
    "utterance",
    "query",
    "tweet",
    "review_text",
    "review_body",
    "comment_text",
    "tweet_text",
    "post",
    "passage",
    "article",
    "sms",
    "question",
    "headline",
    "summary",
    "subject",
    "title",
];

/// Names of pairs of texts; an earlier one is preferred.
pub(super) const PAIRS: [(&str, &str); 12] = [
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("text", "text_pair"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
];

/// Names of labels; an earlier one is preferred.
pub(super) const LABELS: [&str; 17] = [
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "intent",
    "topic",
    "y",
    "gold_label",
    "label_text",
    "label_name",
    "class_name",
    "emotion",
    "polarity",
    "stars",
    "rating",
];

/// Whether a column of this name is known, whatever it holds.
pub(super) fn is_known_name(name: &str) -> bool {
    let name = name.trim();
    let pairs = PAIRS.iter().flat_map(|(one, other)| [one, other]);
    let mut known = TEXTS.iter().chain(&LABELS).chain(pairs).chain(&OTHERS);
    known.any(|known| is_called(name, known))
}

/// Whether texts are known by this name, alone or as one of a pair.
pub(super) fn is_text_name(name: &str) -> bool {
    let pairs = PAIRS.iter().flat_map(|(one, other)| [one, other]);
    TEXTS.iter().chain(pairs).any(|known| is_called(name, known))
}

/// Whether labels are known by this name.
pub(super) fn is_label_name(name: &str) -> bool {
    LABELS.iter().any(|known| is_called(name, known))
}

/// Whether a column has this name, whatever its case, and with spaces or hyphens for underscores.
pub(super) fn is_called(column: &str, name: &str) -> bool {
    let plain = |c: char| match c {
        ' ' | '-' => '_',
        other => other.to_ascii_lowercase(),
    };
    column.trim().chars().map(plain).eq(name.chars().map(plain))
}

/// Names of texts that may be those of the heads of longer ones.
pub(super) const HEADS: [&str; 4] = ["headline", "summary", "subject", "title"];

/// Words in the names of columns that tell something of a row, or what a model said of it, and are no label
/// unless somebody says so.
const NO_LABEL: [&str; 10] = [
    "agent",
    "annotator",
    "annotators",
    "created",
    "predicted",
    "prediction",
    "predictions",
    "suggestion",
    "suggestions",
    "updated",
];

/// Names of columns that say which rows are for training and which for testing.
const SPLITS: [&str; 16] = [
    "data_split",
    "dataset_split",
    "fold",
    "folds",
    "is_test",
    "is_train",
    "is_training",
    "is_val",
    "is_valid",
    "is_validation",
    "kfold",
    "partition",
    "split",
    "splits",
    "subset",
    "train_test",
];

/// Whether one of the words of a name is among [`NO_LABEL`], or it is that of a division of the rows.
pub(super) fn tells_no_label(column: &str) -> bool {
    if SPLITS.iter().any(|name| is_called(column, name)) {
        return true;
    }
    let words = column.split(|c: char| !c.is_alphanumeric());
    words.into_iter().any(|word| NO_LABEL.iter().any(|no| no.eq_ignore_ascii_case(word)))
}

/// Names that tables have besides; a line with one is a header.
const OTHERS: [&str; 12] = [
    "id",
    "idx",
    "index",
    "uid",
    "uuid",
    "source",
    "split",
    "url",
    "date",
    "timestamp",
    "language",
    "author",
];
