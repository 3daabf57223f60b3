//! Chunk extensions: `;name`, `;name=value`, `;name="any \" text"` (RFC 9112, 7.1.1). Nobody uses
//! them; but what is no extension is no size line either, and where one ends must not be a matter
//! of opinion.

use super::head::{is_text, is_token};

/// What the next byte of a chunk extension must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// The name's first byte.
    Start,
    /// Part of the name, or what follows it.
    Name,
    /// What follows a name and white space.
    AfterName,
    /// The value's first byte, or a quote.
    ValueStart,
    /// Part of a value without quotes, or what follows it.
    Value,
    /// Part of a value in quotes, or the quote that ends it.
    Quoted,
    /// Whatever follows a backslash in quotes.
    Escaped,
    /// What follows a value.
    AfterValue,
}

impl Extension {
    /// What the byte after `byte` must be; `None` if `byte` cannot be here.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        use Extension::{AfterName, AfterValue, Escaped, Name, Quoted, Start, Value, ValueStart};
        let is_space = byte == b' ' || byte == b'\t';
        Some(match (self, byte) {
            (Start | ValueStart, _) if is_space => self,
            (Start | Name, _) if is_token(byte) => Name,
            (Name | AfterName, b'=') => ValueStart,
            (Name | AfterName | Value | AfterValue, b';') => Start,
            (Name | AfterName, _) if is_space => AfterName,
            (ValueStart, b'"') => Quoted,
            (ValueStart | Value, _) if is_token(byte) => Value,
            (Value | AfterValue, _) if is_space => AfterValue,
            (Quoted, b'"') => AfterValue,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) if is_text(byte) => Quoted,
            _ => return None,
        })
    }

    /// Whether the size line may end here.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterValue | Self::AfterName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_a_name_with_or_without_a_value() {
        let is_one = |text: &str| {
            let mut bytes = text.bytes();
            bytes.try_fold(Extension::Start, Extension::next).is_some_and(Extension::may_end)
        };
        for good in ["a", "a=b", "a;b", "a=\"b c;\\\"\"", " a = b ; c=\"\" ", "a=\"\";b", "a=\"ü\""]
        {
            assert!(is_one(good), "{good}");
        }
        for bad in [
            "",
            " ",
            ";",
            "a=",
            "a;",
            "a=\"",
            "a=\"b\\\"",
            "a=\"b\"c",
            "a=b\"",
            "\"a\"",
            "a b",
            "a=\0",
        ] {
            assert!(!is_one(bad), "{bad}");
        }
    }
}
