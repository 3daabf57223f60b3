//! Texts of others, made safe to show.

/// Characters of a text that are shown. A report is read by people, and a server can send 16 KiB.
pub(crate) const MAX_SHOWN_CHARS: usize = 200;

/// `bytes` as text that neither moves a cursor nor turns the direction of writing: what is not
/// printable is escaped as in Rust, and so is the backslash, so that nothing looks like an escape
/// that is none. Only the beginning of a long text.
pub(crate) fn safe(bytes: &[u8]) -> String {
    // Four bytes are the longest character.
    let start = &bytes[..bytes.len().min(4 * MAX_SHOWN_CHARS)];
    let text = String::from_utf8_lossy(start);
    let mut shown = String::new();
    for char in text.chars().take(MAX_SHOWN_CHARS) {
        match char {
            '"' | '\'' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    if start.len() < bytes.len() || text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_escaped() {
        for (bytes, expected) in [
            (&b"busy, \"try\" later"[..], "busy, \"try\" later"),
            ("Größe 大".as_bytes(), "Größe 大"),
            (b"\x1b[2J\r\n\0", "\\u{1b}[2J\\r\\n\\0"),
            (
                "a\u{202e}b\u{2066}\u{200f}\u{feff}\u{2028}".as_bytes(),
                "a\\u{202e}b\\u{2066}\\u{200f}\\u{feff}\\u{2028}",
            ),
            (b"\xff\xc2\x9b", "\u{fffd}\\u{9b}"),
            (b"\\u{1b}", "\\\\u{1b}"),
        ] {
            assert_eq!(safe(bytes), expected);
        }
        let long = safe("ü".repeat(100_000).as_bytes());
        assert_eq!(long.chars().count(), MAX_SHOWN_CHARS + 1);
    }
}
