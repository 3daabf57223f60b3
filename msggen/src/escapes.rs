//! Text of the command line in which any byte can be written.

/// The bytes that `text` stands for, with `\r`, `\n`, `\t`, `\\` and `\xHH` in it.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut chars = after.chars();
        let byte = match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('x') => {
                let digits = chars.as_str().get(..2).filter(|it| it.chars().all(is_digit));
                let digits = digits.ok_or("write two hexadecimal digits behind \\x")?;
                chars.nth(1);
                u8::from_str_radix(digits, 16).expect("two digits are a byte")
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("there is no \\{other}; there are \\r \\n \\t \\\\ \\xHH"));
            }
        };
        bytes.push(byte);
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Whether it is a hexadecimal digit. `from_str_radix` would take a sign as well.
fn is_digit(it: char) -> bool {
    it.is_ascii_hexdigit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_written() {
        let text = r"CONNECT {}\r\nSUB ä\t\\n\x00\xfF!";
        assert_eq!(unescape(text).unwrap(), b"CONNECT {}\r\nSUB \xc3\xa4\t\\n\x00\xff!");
        assert_eq!(unescape("").unwrap(), b"");
    }

    #[test]
    fn an_escape_that_does_not_exist_is_named() {
        for (text, why) in [
            (r"a\q", r"there is no \q; there are \r \n \t \\ \xHH"),
            (r"a\", r"there is no \; there are \r \n \t \\ \xHH"),
            (r"\x1", "write two hexadecimal digits behind \\x"),
            (r"\x+1", "write two hexadecimal digits behind \\x"),
            (r"\x1ä", "write two hexadecimal digits behind \\x"),
        ] {
            assert_eq!(unescape(text).unwrap_err(), why, "{text}");
        }
    }
}
