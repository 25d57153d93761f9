//! Short texts about anything but films: recipes, weather, banking, furniture and the like.
//!
//! One row is one topic, so a text never mixes two of them. No word for an aspect of a film and no
//! word of opinion from the review grammar occurs here; both are tested.

use super::expand::{Rules, capitalised, expand};
use crate::compute::Stream;

/// A text of two or three sentences about one topic.
pub(super) fn text(stream: &mut Stream) -> String {
    let mut sentences = stream.choose(TOPICS).to_vec();
    stream.shuffle(&mut sentences);
    sentences.truncate(2 + stream.below(2) as usize);
    let written = sentences.iter().map(|sentence| capitalised(&expand(stream, RULES, sentence)));
    written.collect::<Vec<_>>().join(" ")
}

/// For each topic, four sentences that can stand in any order.
const TOPICS: &[[&str; 4]] = &[
    // Recipes
    [
        "whisk {number} eggs with {amount} of {powder}.",
        "simmer the {vegetable} in a covered pan for {minutes} minutes.",
        "fold in the {vegetable} and season with {spice}.",
        "bake at {oven} degrees until the crust is golden.",
    ],
    // Weather
    [
        "{sky} is expected in the {region} {daytime}.",
        "temperatures will reach {degrees} degrees near the coast.",
        "winds from the {region} may gust to {speed} kilometres an hour.",
        "the chance of {sky} {daytime} is {percent} per cent.",
    ],
    // Furniture assembly
    [
        "insert {number} wooden dowels into panel {panel}.",
        "tighten each screw with the enclosed hex key.",
        "attach the {furniture} legs to the frame, but leave the bolts loose.",
        "turn panel {panel} round so that its holes face the {furniture}.",
    ],
    // Banking
    [
        "please transfer {money} to my {account}.",
        "why was a fee of {money} charged to my card {when}?",
        "how do I change the PIN of my {account}?",
        "I need to block the card that belongs to my {account}.",
    ],
    // Football
    [
        "{club} scored {number} goals before half time.",
        "the goalkeeper of {club} saved a penalty in minute {minutes}.",
        "{club} meet {guests} in the cup {daytime}.",
        "the referee showed {number} yellow cards.",
    ],
    // Gardening
    [
        "sow the {vegetable} {number} centimetres deep in moist soil.",
        "water the {vegetable} twice a week.",
        "prune the {tree} tree before the first frost.",
        "spread compost round the {tree} tree {daytime}.",
    ],
    // Travel
    [
        "the train to {city} leaves from platform {minutes}.",
        "take bus {minutes} as far as the {region} gate of {city}.",
        "how far is the airport from {city} by taxi?",
        "book {number} seats to {city} {daytime}.",
    ],
    // Computers
    [
        "the {device} restarts whenever I plug in the cable.",
        "install update {panel} on the {device} and reboot.",
        "the {device} reports error {minutes} after login.",
        "how much memory does the {device} need?",
    ],
    // Health
    [
        "take {number} tablets with water {daytime}.",
        "the patient has had a sore {limb} since {pastday}.",
        "stretch the {limb} for {minutes} seconds and repeat.",
        "the clinic has cancelled the appointment {daytime}.",
    ],
    // Astronomy
    [
        "{planet} rises in the {region} {daytime}.",
        "a probe will pass {planet} at {speed} kilometres a second.",
        "{planet} has {number} moons larger than {minutes} kilometres.",
        "the telescope measures dust round {planet}.",
    ],
    // Work
    [
        "the meeting about the {device} takes place {daytime}.",
        "please send the invoice over {money} to accounting.",
        "{number} applicants from {city} are invited to interview.",
        "the office in {city} stays closed {daytime}.",
    ],
    // Housekeeping
    [
        "wipe the {furniture} with lukewarm water and vinegar.",
        "the washing machine needs {minutes} minutes at {degrees} degrees.",
        "could you buy {amount} of {powder} {daytime}?",
        "the plumber will repair the kitchen tap {daytime}.",
    ],
];

const RULES: Rules = &[
    ("number", &["two", "three", "four", "five", "six", "seven"]),
    ("minutes", &["12", "15", "18", "20", "25", "30", "40", "45"]),
    ("amount", &["200 grams", "half a kilo", "three spoons", "two cups"]),
    ("powder", &["flour", "sugar", "cocoa", "cornstarch"]),
    ("vegetable", &["carrots", "lentils", "onions", "beans", "tomatoes", "leeks"]),
    ("spice", &["pepper", "thyme", "paprika", "nutmeg"]),
    ("oven", &["160", "180", "200", "220"]),
    ("sky", &["rain", "fog", "snow", "hail", "sunshine", "drizzle"]),
    ("region", &["north", "south", "east", "west"]),
    ("degrees", &["30", "22", "17", "9"]),
    ("speed", &["50", "70", "90"]),
    ("percent", &["10", "40", "60", "80"]),
    ("panel", &["A4", "B2", "C1", "D7"]),
    ("furniture", &["table", "shelf", "wardrobe", "drawer", "bench"]),
    ("money", &["40 euros", "75 euros", "300 euros", "1200 euros"]),
    ("account", &["savings account", "joint account", "current account", "business account"]),
    ("club", &["Northgate United", "Rovers", "the home team", "Eastfield"]),
    ("guests", &["the champions", "the visitors", "Southport Athletic"]),
    ("tree", &["apple", "cherry", "plum", "pear"]),
    ("city", &["Lyon", "Graz", "Porto", "Gdansk", "Bergen", "Turin"]),
    ("device", &["laptop", "printer", "router", "server", "tablet"]),
    ("limb", &["shoulder", "knee", "wrist", "ankle"]),
    ("planet", &["Jupiter", "Saturn", "Uranus", "Neptune"]),
    ("when", &["yesterday", "last week", "last Thursday", "on Saturday"]),
    ("pastday", &["yesterday", "Monday", "last week", "last Thursday"]),
    (
        "daytime",
        &["tonight", "on Monday", "on Tuesday", "tomorrow morning", "this week", "in the evening"],
    ),
];

#[cfg(test)]
mod tests {
    use super::super::expand::undefined_symbols;
    use super::*;

    #[test]
    fn every_symbol_of_the_topics_has_a_rule() {
        let sentences: Vec<&str> = TOPICS.iter().flatten().copied().collect();
        assert_eq!(undefined_symbols(RULES, &sentences), Vec::<&str>::new());
    }
}
