//! The words and sentence frames of the generated reviews: flat tables and nothing else.
//!
//! Every entry was written for this project; nothing is taken or counted from a data set. What an
//! entry is worth is stated in grades: 1 weak, 2 medium, 3 strong, below zero for complaints. The
//! tables are mirror images in number and grade, which is what balances the two labels.
//! `reading` turns grades into log-odds. Words are written as they stand inside a sentence.

use super::expand::Rules;

/// Adjectives of praise: grades 1, 2 and 3.
pub(super) const PRAISE: [&[&str]; 3] = [
    &["decent", "pleasant", "solid", "likeable", "watchable", "neat"],
    &["good", "gripping", "convincing", "charming", "clever", "impressive"],
    &["superb", "brilliant", "outstanding", "wonderful", "stunning", "terrific"],
];

/// How many of the medium adjectives, from the first, are also used with a negator.
pub(super) const NEGATED_ADJECTIVES: usize = 4;

/// Adjectives of complaint: grades -1, -2 and -3.
pub(super) const COMPLAINT: [&[&str]; 3] = [
    &["bland", "uneven", "forgettable", "predictable", "thin", "ordinary"],
    &["bad", "dull", "boring", "weak", "clumsy", "disappointing"],
    &["awful", "terrible", "dreadful", "horrible", "unbearable", "disastrous"],
];

/// Verbs of praise, one for each grade from 1.
pub(super) const PRAISE_VERBS: [&[&str]; 3] = [&["liked"], &["enjoyed", "admired"], &["loved"]];

/// Verbs of complaint, one for each grade from -1.
pub(super) const COMPLAINT_VERBS: [&[&str]; 3] =
    [&["shrugged at"], &["disliked", "regretted"], &["hated"]];

/// Whole clauses of praise, by grade from 1. The last ones of a list are ironies and idioms: praise
/// in the words of complaint.
pub(super) const PRAISE_VERDICTS: [&[&str]; 3] = [
    &["I am glad that I went", "you could do much worse on a quiet evening"],
    &[
        "it deserves a bigger audience",
        "it left me smiling all the way home",
        "the time flew by",
        "it is worth the price of the ticket",
        "I hated having to leave my seat",
    ],
    &[
        "I recommend it to everyone",
        "I would happily watch it again tomorrow",
        "it is the best thing I have seen this year",
        "my only complaint is that it had to end",
        "it is dangerously hard to resist",
    ],
];

/// Whole clauses of complaint, by grade from -1. The last ones of a list are ironies and idioms:
/// complaint in the words of praise.
pub(super) const COMPLAINT_VERDICTS: [&[&str]; 3] = [
    &["I expected more from it", "once was enough for me"],
    &[
        "I kept looking at my watch",
        "it is a waste of an evening",
        "I nearly walked out",
        "I cannot recommend it",
        "I enjoyed the moment when it finally stopped",
    ],
    &[
        "avoid it at all costs",
        "I want my money back",
        "it is the worst thing I have seen this year",
        "what a wonderful way to ruin a weekend",
        "it is a brilliant cure for sleepless nights",
    ],
];

/// Words that make the adjective after them count more, by [`INTENSIFIED`].
pub(super) const INTENSIFIERS: &[&str] = &["very", "really", "truly"];

/// Those of [`INTENSIFIERS`] that suit an adjective of the strongest grade, and one that suits no
/// other.
pub(super) const STRONG_INTENSIFIERS: &[&str] = &["truly", "really", "absolutely"];

/// Words that make the adjective after them count less, by [`SOFTENED`].
pub(super) const SOFTENERS: &[&str] = &["rather", "fairly", "somewhat"];

/// Words that turn the adjective after them round and weaken it, by [`NEGATED`].
pub(super) const NEGATORS: &[&str] = &["not", "not exactly", "hardly"];

/// After these words a sentence counts more, and what stood before them less.
pub(super) const TURNS: &[&str] = &["but", "yet"];

/// Factor of an adjective after one of [`INTENSIFIERS`].
pub(super) const INTENSIFIED: f64 = 1.4;
/// Factor of an adjective after one of [`SOFTENERS`].
pub(super) const SOFTENED: f64 = 0.6;
/// Factor of an adjective after one of [`NEGATORS`].
pub(super) const NEGATED: f64 = -0.4;
/// Factor of the side of a contrast that carries its point.
pub(super) const POINT: f64 = 1.5;
/// Factor of the side of a contrast that is conceded. With grades 3 and 1 the two sides of a
/// contrast cancel exactly, in binary arithmetic too.
pub(super) const CONCEDED: f64 = 0.5;

/// Sentence frames around an adjective with its modifiers, `{quality}`.
pub(super) const QUALITY_FRAMES: &[&str] = &[
    "{singular} was {quality}",
    "{plural} were {quality}",
    "I found {aspect} {quality}",
    "{singular} felt {quality} to me",
    "{plural} seemed {quality} throughout",
    "in {part} {singular} was {quality}",
    "in {part} {plural} were {quality}",
    "{name} was {quality} as {role}",
    "I thought {singular} was {quality}",
];

/// Sentence frames around a verb of praise or complaint, `{verb}`.
pub(super) const VERB_FRAMES: &[&str] =
    &["I {verb} {aspect}", "we all {verb} {aspect}", "{company} {verb} {aspect} in {part}"];

/// What may stand before an opinion, at the beginning of a sentence.
pub(super) const OPENERS: &[&str] =
    &["honestly, ", "to be fair, ", "overall, ", "in my view, ", "for once, ", "as for me, "];

/// Nouns that a review judges, in the singular. No out-of-domain text contains one of their words.
pub(super) const SINGULAR_ASPECTS: &[&str] = &[
    "the acting",
    "the plot",
    "the music",
    "the dialogue",
    "the pacing",
    "the ending",
    "the script",
    "the editing",
    "the humour",
    "the atmosphere",
    "the camera work",
    "the lighting",
    "the direction",
    "the soundtrack",
    "the romance",
    "the story",
];

/// Nouns that a review judges, in the plural.
pub(super) const PLURAL_ASPECTS: &[&str] = &[
    "the jokes",
    "the songs",
    "the costumes",
    "the characters",
    "the special effects",
    "the action scenes",
    "the twists",
    "the performances",
];

/// The neutral vocabulary; `fact` is a whole clause without any opinion.
pub(super) const RULES: Rules = &[
    (
        "fact",
        &[
            "I saw {title} with {company} {time}",
            "{company} took me to {title} {time}",
            "we watched it at {venue} {time}",
            "{title} is a {genre} set in {place}",
            "this {genre} runs for {runtime}",
            "it runs for {runtime} and was filmed in {place}",
            "the film follows {role} who {deed}",
            "{name} plays {role} who {deed}",
            "{name} plays {role} from {place}",
            "this is the {ordinal} film by {name}",
            "{name} directs, and {name} plays {role}",
            "the film begins in {place}, where {role} {deed}",
        ],
    ),
    ("aspect", &["{singular}", "{singular}", "{plural}"]),
    ("singular", SINGULAR_ASPECTS),
    ("plural", PLURAL_ASPECTS),
    ("part", &["the first half", "the second half", "the middle", "the last act", "places"]),
    ("title", &["The {adjective} {noun}"]),
    ("adjective", &["Silver", "Crooked", "Borrowed", "Paper", "Northern", "Winter"]),
    ("noun", &["Harbour", "Orchard", "Lantern", "Staircase", "Compass", "Railway"]),
    ("name", &["{first} {last}"]),
    ("first", &["Anna", "Tomas", "Mira", "Edgar", "Leila", "Oskar", "Ruth"]),
    ("last", &["Lund", "Okafor", "Brandt", "Castell", "Moreau", "Haddad"]),
    ("genre", &["western", "thriller", "comedy", "drama", "musical", "mystery", "war film"]),
    (
        "place",
        &[
            "a harbour town",
            "a mountain village",
            "the desert",
            "Lisbon",
            "a space station",
            "a country hotel",
        ],
    ),
    (
        "role",
        &[
            "a retired detective",
            "a young violinist",
            "a lighthouse keeper",
            "a village doctor",
            "a travelling salesman",
            "a widowed pilot",
        ],
    ),
    (
        "deed",
        &[
            "returns after ten years",
            "finds a box of letters",
            "looks for a lost brother",
            "inherits a farm",
            "moves in with strangers",
            "crosses the border",
        ],
    ),
    ("company", &["my sister", "my father", "two friends", "my neighbour", "the children"]),
    ("time", &["last Friday", "on Sunday", "last month", "after work", "yesterday"]),
    ("venue", &["a small cinema", "a festival", "home"]),
    ("runtime", &["ninety minutes", "two hours", "almost three hours", "about a hundred minutes"]),
    ("ordinal", &["first", "second", "third"]),
];
