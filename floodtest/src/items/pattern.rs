//! Numbers that a regular expression finds: `--sequence REGEX`.
//!
//! It is looked for in place. Only where a text ends in the middle of what may be a match is its
//! end kept until the next piece comes, [`MAX_TAIL_BYTES`] at most.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use reports::stamp::leading_number;
use serde::{Deserialize, Serialize};

/// Bytes that may be kept of a text whose end may be the beginning of a match. A number with what
/// stands around it in a JSON object is shorter. A longer match has no number, not even where it
/// lies whole in what was received at once: what counts may not depend on how the bytes were cut.
pub const MAX_TAIL_BYTES: usize = 128;

/// Bytes that the automaton of a pattern may take. Most take some KB; nested counts of repetition
/// can take any amount.
const MAX_AUTOMATON_BYTES: usize = 8 * 1024 * 1024;

/// A pattern whose one group is the number.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pattern(Arc<Compiled>);

/// A pattern, ready to be looked for.
#[derive(Debug)]
struct Compiled {
    /// Finds matches and their group.
    regex: Regex,
    /// Says whether a text may go on to a match.
    automaton: dense::DFA<Vec<u32>>,
    /// Whether it has `^`, `\\b` or the like, so that the byte before a match matters.
    looks_behind: bool,
    /// Whether a match can go on after a state of the automaton, as far as that was asked: it takes
    /// up to 65,536 steps to find out.
    goes_on: Mutex<HashMap<StateID, bool>>,
}

/// Why a text is not a [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no regular expression.
    #[error("not a regular expression: {0}")]
    NotAPattern(String),
    /// It has no group, or several, so that it does not say what the number is.
    #[error(
        "it has {0} groups; put the digits of the number, and nothing else, into a group, as in \
         'seq=([0-9]+)', and write other groups as (?:…)"
    )]
    Groups(usize),
    /// It is too large to be looked for in pieces of a text.
    #[error("it is too large: {0}")]
    TooLarge(String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // Items are bytes, and \d means 0 to 9.
        let regex = RegexBuilder::new(text).unicode(false).build();
        let regex = regex.map_err(|error| PatternError::NotAPattern(error.to_string()))?;
        // The whole match is the group that is always there.
        match regex.captures_len() - 1 {
            1 => {}
            n => return Err(PatternError::Groups(n)),
        }
        let syntax = regex_automata::util::syntax::Config::new().unicode(false).utf8(false);
        let limits = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(MAX_AUTOMATON_BYTES))
            .determinize_size_limit(Some(MAX_AUTOMATON_BYTES));
        let nfa = thompson::Compiler::new()
            .syntax(syntax)
            .configure(thompson::Config::new().utf8(false))
            .build(text)
            .map_err(|error| PatternError::TooLarge(error.to_string()))?;
        let looks_behind = !nfa.look_set_any().is_empty();
        let automaton = dense::Builder::new().configure(limits).build_from_nfa(&nfa);
        let automaton = automaton.map_err(|error| PatternError::TooLarge(error.to_string()))?;
        let goes_on = Mutex::default();
        Ok(Self(Arc::new(Compiled { regex, automaton, looks_behind, goes_on })))
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.regex.as_str().to_owned()
    }
}

/// A match in a text.
struct Match {
    /// The number in its group; `None` if that is no number.
    number: Option<u64>,
    /// Where it begins.
    start: usize,
    /// Where it ends.
    end: usize,
}

impl Pattern {
    /// Whether the byte before a match matters.
    pub(super) fn looks_behind(&self) -> bool {
        self.0.looks_behind
    }

    /// The first match in `text` from `at` on. What stands before `at` is looked at for `^` and
    /// `\b` only.
    fn find_at(&self, text: &[u8], at: usize) -> Option<Match> {
        let captures = self.0.regex.captures_at(text, at)?;
        let (whole, group) = (captures.get(0)?, captures.get(1));
        let number = group.and_then(|group| {
            let (number, after) = leading_number(group.as_bytes())?;
            after.is_empty().then_some(number)
        });
        Some(Match { number, start: whole.start(), end: whole.end() })
    }

    /// Whether more bytes behind `text` could make a match that begins at `start`, or a longer one.
    fn may_go_on(&self, text: &[u8], start: usize) -> bool {
        let automaton = &self.0.automaton;
        let before = start.checked_sub(1).map(|before| text[before]);
        let config = start::Config::new().anchored(Anchored::Yes).look_behind(before);
        let Ok(mut state) = automaton.start_state(&config) else { return true };
        for byte in &text[start..] {
            state = automaton.next_state(state, *byte);
            if automaton.is_dead_state(state) {
                return false;
            }
        }
        let mut goes_on = self.0.goes_on.lock().expect("nothing panics while it is held");
        *goes_on.entry(state).or_insert_with(|| self.has_way_on(state))
    }

    /// Whether a further byte can be a part of a match after `state`. The automaton tells a match
    /// one byte late, by a state that one more byte leads to whatever it is: that one does not
    /// count.
    fn has_way_on(&self, state: StateID) -> bool {
        let automaton = &self.0.automaton;
        let is_alive = |state| !automaton.is_dead_state(state);
        (0..=u8::MAX).map(|byte| automaton.next_state(state, byte)).any(|next| {
            is_alive(next)
                && (!automaton.is_match_state(next)
                    || (0..=u8::MAX).any(|byte| is_alive(automaton.next_state(next, byte))))
        })
    }
}

/// What is kept of a text that ends in the middle of what may be a match.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Its last bytes, with one more before them that is only looked at.
    bytes: Vec<u8>,
    /// Whether there is one more before them.
    has_before: bool,
}

/// What a piece of a text has in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A number.
    Number(u64),
    /// A match that may be longer than what can be kept.
    TooLong,
}

impl Tail {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Looks through the next `piece` of a text, which ends there if `is_end`. `previous` is the
    /// byte before the piece, if there is one.
    pub(super) fn feed(
        &mut self,
        pattern: &Pattern,
        piece: &[u8],
        previous: Option<u8>,
        is_end: bool,
        mut found: impl FnMut(Found),
    ) {
        let mut joined = std::mem::take(&mut self.bytes);
        let mut at = usize::from(self.has_before);
        let text: &[u8] = if joined.is_empty() && previous.is_none() {
            at = 0;
            piece
        } else {
            if joined.is_empty() {
                joined.extend(previous);
                at = joined.len();
            }
            joined.extend_from_slice(piece);
            &joined
        };
        self.has_before = false;
        while let Some(matched) = pattern.find_at(text, at) {
            let is_open = matched.end == text.len() && !is_end;
            if is_open && pattern.may_go_on(text, matched.start) {
                self.keep(text, matched.start, &mut found);
                return;
            }
            if matched.end - matched.start > MAX_TAIL_BYTES {
                found(Found::TooLong);
            } else if let Some(number) = matched.number {
                found(Found::Number(number));
            }
            // A match of nothing would be found again for ever.
            at = matched.end.max(matched.start + 1);
            if at > text.len() {
                return;
            }
        }
        if !is_end && let Some(start) = (at..text.len()).find(|at| pattern.may_go_on(text, *at)) {
            self.keep(text, start, &mut found);
        }
    }

    /// Keeps `text` from `start` on.
    fn keep(&mut self, text: &[u8], start: usize, found: &mut impl FnMut(Found)) {
        if text.len() - start > MAX_TAIL_BYTES {
            found(Found::TooLong);
            return;
        }
        self.has_before = start > 0;
        self.bytes = text[start - usize::from(self.has_before)..].to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a text that comes in these pieces.
    fn find_all(pattern: &str, pieces: &[&[u8]]) -> Vec<Found> {
        let pattern = pattern.parse().unwrap();
        let mut tail = Tail::default();
        let mut all = Vec::new();
        let mut previous = None;
        for (k, piece) in pieces.iter().enumerate() {
            let is_end = k + 1 == pieces.len();
            tail.feed(&pattern, piece, previous, is_end, |found| all.push(found));
            previous = piece.last().copied().or(previous);
        }
        all
    }

    #[test]
    fn numbers_are_found_wherever_the_text_is_cut() {
        for (pattern, text, numbers) in [
            ("seq=([0-9]+)", "seq=1 xseq=22sseq=333", &[1, 22, 333][..]),
            (r#""seq":(\d+)[,}]"#, r##"{"seq":17,"text":"#4"}{"seq":18}"##, &[17, 18]),
            (r"\bn=(\d+)", "n=1 xn=2 n=3", &[1, 3]),
            (r"^n=(\d+)", "n=1 n=2", &[1]),
            (r"n=(\d+|x)", "n=1n=xn=2", &[1, 2]),
        ] {
            let expected: Vec<_> = numbers.iter().map(|n| Found::Number(*n)).collect();
            let text = text.as_bytes();
            assert_eq!(find_all(pattern, &[text]), expected, "{pattern}");
            for cut in 0..=text.len() {
                let pieces = [&text[..cut], &text[cut..]];
                assert_eq!(find_all(pattern, &pieces), expected, "{pattern} cut at {cut}");
            }
            let pieces: Vec<_> = text.chunks(1).collect();
            assert_eq!(find_all(pattern, &pieces), expected, "{pattern} byte by byte");
        }
    }

    #[test]
    fn a_text_that_can_be_no_match_keeps_nothing() {
        let mut tail = Tail::default();
        let pattern = "seq=([0-9]+);".parse().unwrap();
        for piece in ["hello", "seq=1;", "seq=1; x"] {
            tail.feed(&pattern, piece.as_bytes(), None, false, |_| {});
            assert!(tail.is_empty(), "{piece}");
        }
        tail.feed(&pattern, b"x seq=1", None, false, |_| {});
        assert_eq!(tail.bytes, b" seq=1");
    }

    #[test]
    fn what_is_too_long_to_be_kept_is_said() {
        let long = format!("seq={}", "1".repeat(MAX_TAIL_BYTES));
        assert_eq!(find_all("seq=([0-9]+);", &[long.as_bytes(), b"2;"]), [Found::TooLong]);
        let whole = format!("{long}; seq=7;");
        let expected = [Found::TooLong, Found::Number(7)];
        for n_bytes in 1..=whole.len() {
            let pieces: Vec<_> = whole.as_bytes().chunks(n_bytes).collect();
            assert_eq!(find_all("seq=([0-9]+);", &pieces), expected, "pieces of {n_bytes}");
        }
    }

    #[test]
    fn a_pattern_has_one_group() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error("seq=[0-9]+"), PatternError::Groups(0));
        assert_eq!(error("(a)([0-9]+)"), PatternError::Groups(2));
        assert!(error("([0-9]+").to_string().contains("unclosed group"));
        assert!(matches!(error("(?:x{900}){900}([0-9])"), PatternError::NotAPattern(_)));
    }
}
