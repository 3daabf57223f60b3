//! A number in a field of an item that is JSON: tokens, as the server itself counts them.

use std::fmt;
use std::str::FromStr;

use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The path of a field, as `usage.completion_tokens` or `choices[0].tokens`: the value of
/// `--count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Field {
    /// As it was given.
    path: String,
    /// The same as RFC 6901 writes it: `/choices/0/tokens`.
    pointer: String,
    /// The last name in it. An item in which these bytes do not occur is not parsed.
    name: String,
}

/// Why a text is no [`Field`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the path of a field: \"{0}\"; write names with dots between them, and places of arrays in \
     brackets: usage.completion_tokens, choices[0].tokens"
)]
pub struct FieldError(String);

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let error = || FieldError(text.to_owned());
        let (mut pointer, mut name) = (String::new(), None);
        for part in text.split('.') {
            // `choices[0][1]` is a name and two places. A name may be empty only where the whole
            // item is an array: `[0].n`.
            let (first, places) =
                part.split_once('[').map_or((part, None), |(first, places)| (first, Some(places)));
            if first.is_empty() && (places.is_none() || !pointer.is_empty()) || first.contains(']')
            {
                return Err(error());
            }
            if !first.is_empty() {
                pointer.push('/');
                pointer.push_str(&first.replace('~', "~0").replace('/', "~1"));
                name = Some(first);
            }
            let Some(places) = places else { continue };
            let places = places.strip_suffix(']').ok_or_else(error)?;
            for place in places.split("][") {
                let place: u32 = place.parse().map_err(|_| error())?;
                pointer.push('/');
                pointer.push_str(&place.to_string());
            }
        }
        let name = name.ok_or_else(error)?.to_owned();
        Ok(Self { path: text.to_owned(), pointer, name })
    }
}

impl TryFrom<String> for Field {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.path
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Field {
    /// The number in this field of `item`. `None` if the item is no JSON, has no such field, or
    /// has something in it that is no whole number from 0 on: servers write `null` until they know.
    pub fn value_in(&self, item: &[u8]) -> Option<u64> {
        // Of the items of a stream mostly the last one has the field, so the others are not parsed.
        memmem::find(item, self.name.as_bytes())?;
        // serde_json gives up beyond 128 levels, and an item has a bound, so that this has one too.
        let value: Value = serde_json::from_slice(item).ok()?;
        value.pointer(&self.pointer)?.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(path: &str, item: &str) -> Option<u64> {
        path.parse::<Field>().unwrap().value_in(item.as_bytes())
    }

    #[test]
    fn a_field_is_found_by_its_names_and_places() {
        let item = r#"{"usage":{"completion_tokens":17,"a/b":2,"x~y":3},"c":[{"n":4},[5,6]]}"#;
        assert_eq!(value("usage.completion_tokens", item), Some(17));
        assert_eq!(value("usage.a/b", item), Some(2));
        assert_eq!(value("usage.x~y", item), Some(3));
        assert_eq!(value("c[0].n", item), Some(4));
        assert_eq!(value("c[1][1]", item), Some(6));
        assert_eq!(value("[1].n", r#"[{},{"n":7}]"#), Some(7));
        assert_eq!(value("usage.prompt_tokens", item), None);
        assert_eq!(value("c[2].n", item), None);
    }

    #[test]
    fn what_is_no_whole_number_is_none() {
        for item in ["", "n", "[DONE]", r#"{"n":null}"#, r#"{"n":-1}"#, r#"{"n":1.5}"#] {
            assert_eq!(value("n", item), None, "{item}");
        }
        assert_eq!(value("n", r#"{"n":"5"}"#), None);
        assert_eq!(value("n", &"[".repeat(60_000).replace("[[", "[\"n\",[")), None);
        assert_eq!(value("n", r#"{"n":18446744073709551615}"#), Some(u64::MAX));
    }

    #[test]
    fn a_path_that_is_none_is_refused_with_what_to_write() {
        for text in
            ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "a[0", "a]", "a[0]b", "[0]"]
        {
            let error = text.parse::<Field>().unwrap_err().to_string();
            assert!(error.contains("usage.completion_tokens"), "{text}: {error}");
        }
    }
}
