//! Text with blanks to fill in: `{k}`, `{id}`, `{source}`, `{n}`, `{message}`.
//!
//! Only a lower-case word in braces is a blank, so JSON stands in a template as it is.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What a blank is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blank {
    /// The number of the message, counting down to 1.
    Countdown,
    /// Whom it is for.
    Id,
    /// The number of the source that sends it.
    Source,
    /// Its number among the messages to the id.
    Number,
    /// Its text.
    Message,
    /// Its text as it stands between the quotes of a JSON string.
    MessageInJson,
    /// Its text as it stands in a URL or a form.
    MessageInUrl,
}

/// The names of the blanks.
const BLANKS: [(&str, Blank); 7] = [
    ("k", Blank::Countdown),
    ("id", Blank::Id),
    ("source", Blank::Source),
    ("n", Blank::Number),
    ("message", Blank::Message),
    ("message:json", Blank::MessageInJson),
    ("message:url", Blank::MessageInUrl),
];

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Text as it is.
    Text(String),
    /// A blank.
    Blank(Blank),
}

/// A text with blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// What the blanks are filled with for one message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filling<'a> {
    /// The number of the message, counting down to 1.
    pub countdown: u64,
    /// Whom it is for.
    pub id: u64,
    /// The number of the source that sends it.
    pub source: u64,
    /// Its number among the messages to the id, from 1.
    pub number: u64,
    /// Its text.
    pub message: &'a str,
}

impl Template {
    /// The template of a message, which cannot contain itself.
    pub fn of_message(text: &str) -> Result<Self, String> {
        Self::parse(text, &BLANKS[..4])
    }

    /// The template of a part of a request.
    pub fn of_request(text: &str) -> Result<Self, String> {
        Self::parse(text, &BLANKS)
    }

    /// The template of a URL, where every message is encoded.
    pub fn of_url(text: &str) -> Result<Self, String> {
        let mut template = Self::of_request(text)?;
        for part in &mut template.0 {
            if *part == Part::Blank(Blank::Message) {
                *part = Part::Blank(Blank::MessageInUrl);
            }
        }
        Ok(template)
    }

    /// Text without blanks.
    pub fn plain(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// Cuts `text` at its blanks, which may be those of `blanks`.
    fn parse(text: &str, blanks: &[(&str, Blank)]) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            rest = after;
            let name = after.split('}').next().unwrap_or_default();
            let is_word = after.len() > name.len()
                && name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || b":_".contains(&byte));
            if !is_word {
                plain.push('{');
                continue;
            }
            let Some((_, blank)) = blanks.iter().find(|(known, _)| *known == name) else {
                let known: Vec<String> =
                    blanks.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(format!("there is no {{{name}}} here; there are {}", known.join(", ")));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Blank(*blank));
            rest = &after[name.len() + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Its text, if it has no blanks.
    pub fn plain_text(&self) -> Option<String> {
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Blank(_) => None,
        });
        texts.collect()
    }

    /// Whether it has the blank for the number among the messages to an id.
    pub fn has_number(&self) -> bool {
        self.0.contains(&Part::Blank(Blank::Number))
    }

    /// Appends the text to `to`, its blanks filled in.
    pub fn fill(&self, filling: Filling<'_>, to: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Blank(Blank::Message) => to.push_str(filling.message),
                Part::Blank(Blank::MessageInJson) => push_json(filling.message, to),
                Part::Blank(Blank::MessageInUrl) => {
                    to.extend(utf8_percent_encode(filling.message, NON_ALPHANUMERIC));
                }
                Part::Blank(Blank::Countdown) => push_number(filling.countdown, to),
                Part::Blank(Blank::Id) => push_number(filling.id, to),
                Part::Blank(Blank::Source) => push_number(filling.source, to),
                Part::Blank(Blank::Number) => push_number(filling.number, to),
            }
        }
    }

    /// The text with its blanks filled in.
    pub fn filled(&self, filling: Filling<'_>) -> String {
        let mut text = String::new();
        self.fill(filling, &mut text);
        text
    }
}

/// As it was given.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Blank(blank) => {
                let name = BLANKS.iter().find(|(_, it)| it == blank).map(|(name, _)| *name);
                write!(f, "{{{}}}", name.expect("every blank has a name"))
            }
        })
    }
}

/// Appends a number in decimal. Every message has several, and the general way to write one takes
/// three times as long.
pub fn push_number(mut number: u64, to: &mut String) {
    let mut digits = [b'0'; DIGITS];
    let mut first = DIGITS;
    loop {
        first -= 1;
        let digit = (number % 10) as u8;
        digits[first] += digit;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.push_str(std::str::from_utf8(&digits[first..]).expect("digits are text"));
}

/// Digits of the largest number.
const DIGITS: usize = 20;

/// Appends `text` as it stands between the quotes of a JSON string.
pub fn push_json(text: &str, to: &mut String) {
    // Most messages need no escaping, and looking for it costs less than the escaping would.
    if !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        return to.push_str(text);
    }
    let quoted = serde_json::to_string(text).expect("text is JSON");
    to.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'_> =
        Filling { countdown: 9, id: 7, source: 3, number: 5, message: "a \"b\" + ü" };

    #[test]
    fn numbers_are_written_as_everywhere() {
        for number in [0, 7, 10, 99, 100, 1_764_022_500_123_456, u64::MAX] {
            let mut to = "x".to_owned();
            push_number(number, &mut to);
            assert_eq!(to, format!("x{number}"));
        }
    }

    fn filled(text: &str) -> String {
        Template::of_request(text).unwrap().filled(FILLING)
    }

    #[test]
    fn blanks_are_filled_in_and_everything_else_stays() {
        assert_eq!(filled("{id}{k} of {source}: {message}!"), "79 of 3: a \"b\" + ü!");
        for text in ["", "{", "}", "{}", "{ id }", "{ID}", "{id", "}{", "{\"id\": {}}", "{1}"] {
            assert_eq!(filled(text), text);
        }
        assert_eq!(filled("{{id}}"), "{7}");
        assert_eq!(filled("{id}/{n}"), "7/5");
        let text = "{id} {\"a\": {message:json}} {n}";
        assert_eq!(Template::of_request(text).unwrap().to_string(), text);
    }

    #[test]
    fn a_message_is_written_as_its_place_needs_it() {
        assert_eq!(
            filled(r#"{"channel":"{id}","data":{"text":"{message:json}"}}"#),
            r#"{"channel":"7","data":{"text":"a \"b\" + ü"}}"#
        );
        assert_eq!(
            filled("topic={id}&data={message:url}"),
            "topic=7&data=a%20%22b%22%20%2B%20%C3%BC"
        );
        let url = Template::of_url("http://h/?m={message}").unwrap();
        assert_eq!(url.filled(FILLING), "http://h/?m=a%20%22b%22%20%2B%20%C3%BC");
    }

    #[test]
    fn a_blank_that_there_is_not_is_named_with_those_that_there_are() {
        assert_eq!(
            Template::of_message("{id} {message}").unwrap_err(),
            "there is no {message} here; there are {k}, {id}, {source}, {n}"
        );
        assert!(
            Template::of_request("{messsage}").unwrap_err().starts_with("there is no {messsage}")
        );
    }
}
