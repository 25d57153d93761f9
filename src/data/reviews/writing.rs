//! How a review is written: what its sentences say, in which order and in which words.
//!
//! The writer has a mood, which decides how often a clause praises. The mood goes into the words
//! and nowhere else: neither it nor anything else that is drawn here decides the label.

use super::expand::{capitalised, expand};
use super::grammar::*;
use super::reading::words;
use crate::compute::Stream;

/// The number of words of a review, from and to.
pub(super) const WORDS: std::ops::RangeInclusive<usize> = 8..=40;

/// Which way a clause leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Praise,
    Complaint,
}

impl Tone {
    fn opposite(self) -> Self {
        match self {
            Self::Praise => Self::Complaint,
            Self::Complaint => Self::Praise,
        }
    }

    fn pick<T>(self, praise: T, complaint: T) -> T {
        match self {
            Self::Praise => praise,
            Self::Complaint => complaint,
        }
    }
}

/// A review of one to four clauses. A draft that is too short or too long is thrown away.
pub(super) fn review(stream: &mut Stream) -> String {
    loop {
        let draft = draft(stream);
        if WORDS.contains(&words(&draft).len()) {
            return draft;
        }
    }
}

/// What a writer feels about a film before the first word: how often a clause praises, and in how
/// strong words.
#[derive(Clone, Copy, Debug)]
struct Mood {
    praise_share: f64,
    /// Ten equally likely grades: 0 weak, 1 medium, 2 strong.
    grades: [usize; 10],
}

impl Mood {
    const OF_TWO_MINDS: f64 = 0.5;

    fn draw(stream: &mut Stream) -> Self {
        // One writer in eleven is of two minds, and then in weak words. The others let a clause of
        // the other kind slip in now and then.
        let (praise_share, strength) = match stream.below(33) {
            0..=2 => (Self::OF_TWO_MINDS, 0),
            3..=17 => (0.99, stream.below(3)),
            _ => (0.01, stream.below(3)),
        };
        let grades = match strength {
            0 => [0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
            1 => [0, 0, 0, 1, 1, 1, 1, 1, 1, 2],
            _ => [0, 1, 1, 1, 1, 2, 2, 2, 2, 2],
        };
        Self { praise_share, grades }
    }

    fn tone(&self, stream: &mut Stream) -> Tone {
        if stream.uniform() < self.praise_share { Tone::Praise } else { Tone::Complaint }
    }

    fn grade(&self, stream: &mut Stream) -> usize {
        *stream.choose(&self.grades)
    }
}

/// One to three opinions, then perhaps a verdict; perhaps a fact before them all.
fn draft(stream: &mut Stream) -> String {
    let mood = Mood::draw(stream);
    let mut sentences = Vec::new();
    let opinions = *stream.choose(&[1, 2, 2, 3, 3, 3]);
    let mut clauses = opinions;
    for _ in 0..opinions {
        let (tone, grade) = (mood.tone(stream), mood.grade(stream));
        let of_two_minds = mood.praise_share == Mood::OF_TWO_MINDS;
        if of_two_minds && stream.below(2) == 0 {
            sentences.push(balanced(stream, tone, grade));
        } else if clauses < 4 && stream.below(26) == 0 {
            clauses += 1;
            let conceded = plain(stream, tone.opposite(), 0);
            let point = opinion(stream, tone, grade.max(1));
            sentences.push(format!("{conceded}, {} {point}", stream.choose(TURNS)));
        } else {
            let opener = if stream.below(4) == 0 { *stream.choose(OPENERS) } else { "" };
            sentences.push(format!("{opener}{}", opinion(stream, tone, grade)));
        }
    }
    if clauses < 4 && stream.below(2) == 0 {
        clauses += 1;
        let (tone, grade) = (mood.tone(stream), mood.grade(stream));
        sentences.push(verdict(stream, tone, grade));
    }
    if clauses < 4 && stream.below(5) < 2 {
        sentences.insert(0, fact(stream));
    }
    joined(stream, &sentences)
}

/// A text that says nothing for or against: its log-odds are zero but for rounding.
pub(super) fn ambiguous(stream: &mut Stream) -> String {
    let tone = if stream.below(2) == 0 { Tone::Praise } else { Tone::Complaint };
    let grade = stream.below(3) as usize;
    let sentences = match stream.below(4) {
        0 => vec![fact(stream), fact(stream)],
        1 => {
            let first = plain(stream, tone, grade);
            vec![fact(stream), first, plain(stream, tone.opposite(), grade)]
        }
        2 => {
            let strong = plain(stream, tone, 2);
            let weak = plain(stream, tone.opposite(), 0);
            vec![fact(stream), format!("{strong}, {} {weak}", stream.choose(TURNS))]
        }
        _ => vec![fact(stream), balanced(stream, tone, grade)],
    };
    joined(stream, &sentences)
}

fn fact(stream: &mut Stream) -> String {
    expand(stream, RULES, "{fact}")
}

/// A clause that says what the writer thinks of one aspect.
fn opinion(stream: &mut Stream, tone: Tone, grade: usize) -> String {
    if stream.below(6) == 0 {
        let verb = *stream.choose(tone.pick(PRAISE_VERBS, COMPLAINT_VERBS)[grade]);
        let frame = stream.choose(VERB_FRAMES).replace("{verb}", verb);
        return expand(stream, RULES, &frame);
    }
    let quality = match (stream.below(100), grade) {
        // A negated adjective leans the other way, so it is taken from there. Weak adjectives are
        // never negated and strong ones never softened: nobody writes so.
        (0..6, 1) => {
            let adjective = stream.choose(&adjectives(tone.opposite())[1][..NEGATED_ADJECTIVES]);
            format!("{} {adjective}", stream.choose(NEGATORS))
        }
        (6..22, 0 | 1) => {
            let adjective = stream.choose(adjectives(tone)[grade]);
            format!("{} {adjective}", stream.choose(SOFTENERS))
        }
        (22..40, _) => {
            let intensifiers = if grade == 2 { STRONG_INTENSIFIERS } else { INTENSIFIERS };
            let adjective = stream.choose(adjectives(tone)[grade]);
            format!("{} {adjective}", stream.choose(intensifiers))
        }
        _ => (*stream.choose(adjectives(tone)[grade])).to_owned(),
    };
    in_frame(stream, &quality)
}

/// A clause with a bare adjective of this grade (0 weak, 1 medium, 2 strong).
fn plain(stream: &mut Stream, tone: Tone, grade: usize) -> String {
    let adjective = *stream.choose(adjectives(tone)[grade]);
    in_frame(stream, adjective)
}

/// A clause with two adjectives that cancel.
fn balanced(stream: &mut Stream, tone: Tone, grade: usize) -> String {
    let first = *stream.choose(adjectives(tone)[grade]);
    let second = *stream.choose(adjectives(tone.opposite())[grade]);
    in_frame(stream, &format!("both {first} and {second}"))
}

fn in_frame(stream: &mut Stream, quality: &str) -> String {
    let frame = stream.choose(QUALITY_FRAMES).replace("{quality}", quality);
    expand(stream, RULES, &frame)
}

/// The last word on a film.
fn verdict(stream: &mut Stream, tone: Tone, grade: usize) -> String {
    (*stream.choose(tone.pick(PRAISE_VERDICTS, COMPLAINT_VERDICTS)[grade])).to_owned()
}

fn adjectives(tone: Tone) -> [&'static [&'static str]; 3] {
    tone.pick(PRAISE, COMPLAINT)
}

/// Sentences with their capitals and full stops; now and then an exclamation mark.
fn joined(stream: &mut Stream, sentences: &[String]) -> String {
    let finished = sentences.iter().map(|sentence| {
        let stop = if stream.below(16) == 0 { '!' } else { '.' };
        format!("{}{stop}", capitalised(sentence))
    });
    finished.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::expand::undefined_symbols;
    use super::super::reading::log_odds;
    use super::*;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn every_symbol_of_the_grammar_has_a_rule() {
        let frames: Vec<&str> = QUALITY_FRAMES.iter().chain(VERB_FRAMES).copied().collect();
        let mut missing = undefined_symbols(RULES, &frames);
        missing.retain(|symbol| !["quality", "verb"].contains(symbol));
        assert_eq!(missing, Vec::<&str>::new());
    }

    /// If a neutral word were also a cue, a frame around an adjective would change what it says.
    #[test]
    fn what_is_neutral_reads_as_zero() {
        let neutral = RULES.iter().flat_map(|(_, replacements)| replacements.iter());
        let frames = QUALITY_FRAMES.iter().chain(VERB_FRAMES).chain(OPENERS);
        for text in neutral.chain(frames) {
            assert_eq!(log_odds(text), 0.0, "`{text}`");
            let split = format!("{text} superb");
            assert_eq!(log_odds(&split), log_odds("superb"), "`{text}` changes what follows");
        }
        let mut stream = Noise::new(5).stream(Purpose::Generate, 0, 0);
        for _ in 0..2_000 {
            let fact = fact(&mut stream);
            assert_eq!(log_odds(&fact), 0.0, "`{fact}`");
        }
    }

    #[test]
    fn a_clause_leans_the_way_it_was_meant_to() {
        let mut stream = Noise::new(6).stream(Purpose::Generate, 0, 0);
        for grade in (0..3).cycle().take(6_000) {
            let opinion = opinion(&mut stream, Tone::Praise, grade);
            assert!(log_odds(&opinion) > 0.0, "`{opinion}`");
            let verdict = verdict(&mut stream, Tone::Complaint, grade);
            assert!(log_odds(&verdict) < 0.0, "`{verdict}`");
        }
    }

    #[test]
    fn the_tables_of_praise_and_complaint_mirror_each_other() {
        for (praise, complaint) in [
            (PRAISE, COMPLAINT),
            (PRAISE_VERBS, COMPLAINT_VERBS),
            (PRAISE_VERDICTS, COMPLAINT_VERDICTS),
        ] {
            assert_eq!(praise.map(<[_]>::len), complaint.map(<[_]>::len));
        }
    }
}
