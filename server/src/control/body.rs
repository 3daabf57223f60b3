//! Bodies of requests to the control door: where they end, however they are framed. No sockets.
//!
//! The bytes of a body are found, or moved together, at the front of what has come in, so that they
//! are used where they are.

use crate::request::MAX_HEAD_BYTES;

/// Bytes in the line that says how long a chunk is. Its extensions are for nobody here.
const MAX_SIZE_LINE_BYTES: usize = 256;

/// Digits in the size of a chunk: as many as an offset in a file can need, so that no size
/// overflows.
const MAX_SIZE_DIGITS: usize = 15;

/// Bytes of the fields behind the last chunk, which are read and dropped.
const MAX_TRAILER_BYTES: usize = MAX_HEAD_BYTES / 2;

/// What is left of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// As many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
}

/// Where a body in chunks is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// Before the line with the size of a chunk.
    Size,
    /// So many bytes before the end of a chunk.
    Data(u64),
    /// Before the CRLF that ends a chunk.
    DataEnd,
    /// Behind the last chunk, so many bytes into the fields that may follow.
    Trailer(usize),
    /// At the end.
    End,
}

/// What the bytes that came in have of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// So many bytes of it are in front now.
    pub(crate) n_data: usize,
    /// So many of all bytes were used, framing included. The others are to be moved behind the
    /// data.
    pub(crate) n_used: usize,
}

impl Body {
    /// Whether there is nothing more of it.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunks::End))
    }

    /// Takes what `bytes` have of the body, and puts it to their front. An error says what is wrong
    /// with the framing; what was good before it was returned earlier.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Result<Found, &'static str> {
        match self {
            Self::Length(left) => {
                let n = at_most(bytes.len(), *left);
                *left -= n as u64;
                Ok(Found { n_data: n, n_used: n })
            }
            Self::Chunked(chunks) => chunks.take(bytes),
        }
    }
}

impl Chunks {
    /// See [`Body::take`].
    fn take(&mut self, bytes: &mut [u8]) -> Result<Found, &'static str> {
        let mut found = Found { n_data: 0, n_used: 0 };
        loop {
            match self.step(bytes, &mut found) {
                Ok(true) => {}
                Ok(false) => return Ok(found),
                // What comes before the error counts: whether it came along is chance.
                Err(_) if found.n_data > 0 => return Ok(found),
                Err(why) => return Err(why),
            }
        }
    }

    /// Goes on by a line or by the data of a chunk. Returns whether there may be more to do.
    fn step(&mut self, bytes: &mut [u8], found: &mut Found) -> Result<bool, &'static str> {
        let rest = &bytes[found.n_used..];
        match *self {
            Self::Size => {
                let Some(line) = line(rest, MAX_SIZE_LINE_BYTES)? else { return Ok(false) };
                *self = match size(line)? {
                    0 => Self::Trailer(0),
                    n => Self::Data(n),
                };
                found.n_used += line.len() + 2;
            }
            Self::Data(left) => {
                let n = at_most(rest.len(), left);
                if n == 0 {
                    return Ok(false);
                }
                bytes.copy_within(found.n_used..found.n_used + n, found.n_data);
                found.n_used += n;
                found.n_data += n;
                let left = left - n as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
            }
            Self::DataEnd => match rest {
                [b'\r', b'\n', ..] => {
                    found.n_used += 2;
                    *self = Self::Size;
                }
                [] | [b'\r'] => return Ok(false),
                _ => return Err("a chunk is longer than its size says"),
            },
            Self::Trailer(n_before) => {
                let Some(line) = line(rest, MAX_TRAILER_BYTES - n_before)? else {
                    return Ok(false);
                };
                *self = match line {
                    [] => Self::End,
                    field if is_field(field) => Self::Trailer(n_before + field.len()),
                    _ => return Err("what follows the last chunk is not a field"),
                };
                found.n_used += line.len() + 2;
            }
            Self::End => return Ok(false),
        }
        Ok(true)
    }
}

/// As many as there are, of those that are left.
fn at_most(n_there: usize, n_left: u64) -> usize {
    usize::try_from(n_left).map_or(n_there, |n_left| n_left.min(n_there))
}

/// The first line without its end, if it has come whole.
fn line(bytes: &[u8], max_bytes: usize) -> Result<Option<&[u8]>, &'static str> {
    let within = &bytes[..bytes.len().min(max_bytes + 2)];
    let Some(at) = memchr::memchr(b'\n', within) else {
        let is_short = within.len() < max_bytes + 2;
        return if is_short { Ok(None) } else { Err("a line of the chunked body is too long") };
    };
    let line = within[..at].strip_suffix(b"\r");
    line.map(Some).ok_or("a line of the chunked body ends without a carriage return")
}

/// The size in the line before a chunk. Extensions are dropped.
fn size(line: &[u8]) -> Result<u64, &'static str> {
    let n_digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, after) = line.split_at(n_digits);
    if n_digits == 0 || n_digits > MAX_SIZE_DIGITS || !is_extensions(after) {
        return Err("the size of a chunk is malformed");
    }
    let digits = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
    Ok(u64::from_str_radix(digits, 16).expect("so few digits fit"))
}

/// Whether what follows the size of a chunk is nothing, or extensions (RFC 9112, 7.1.1): a name
/// after each semicolon that no quotes enclose, and quotes that end.
fn is_extensions(text: &[u8]) -> bool {
    let (mut in_quotes, mut is_escaped, mut wants_name) = (false, false, false);
    let mut has_begun = false;
    for &byte in text {
        if byte < b' ' && byte != b'\t' || byte == 127 {
            return false;
        }
        if in_quotes {
            (in_quotes, is_escaped) = (is_escaped || byte != b'"', !is_escaped && byte == b'\\');
            continue;
        }
        match byte {
            b' ' | b'\t' => {}
            b';' if wants_name => return false,
            b';' => (has_begun, wants_name) = (true, true),
            _ if !has_begun => return false,
            b'"' | b'=' if wants_name => return false,
            b'"' => in_quotes = true,
            _ => wants_name = false,
        }
    }
    !in_quotes && !wants_name && (has_begun || text.is_empty())
}

/// Whether a line behind the last chunk is a field: it is dropped, but a request is not.
fn is_field(line: &[u8]) -> bool {
    let Some(n_name) = memchr::memchr(b':', line) else { return false };
    let is_token = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_text = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 127);
    n_name > 0 && line[..n_name].iter().all(is_token) && line[n_name..].iter().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a chunked body that comes in two parts, and what is left behind it.
    fn read(bytes: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<u8>, bool), &'static str> {
        let mut body = Body::Chunked(Chunks::Size);
        let (mut data, mut waiting) = (Vec::new(), Vec::new());
        for part in [&bytes[..cut], &bytes[cut..]] {
            waiting.extend_from_slice(part);
            loop {
                let found = body.take(&mut waiting)?;
                data.extend_from_slice(&waiting[..found.n_data]);
                waiting.drain(..found.n_used);
                if found.n_data == 0 {
                    break;
                }
            }
        }
        Ok((data, waiting, body.is_at_end()))
    }

    #[test]
    fn chunks_are_put_together_wherever_they_are_cut() {
        let body = b"3\r\nabc\r\n0a;name=\"a\\\";b\" ; x\r\n0123456789\r\n0\r\nA: b\r\n\r\nPOST";
        for cut in 0..=body.len() {
            let expected = (b"abc0123456789".to_vec(), b"POST".to_vec(), true);
            assert_eq!(read(body, cut), Ok(expected), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused_wherever_it_is_cut() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(MAX_SIZE_LINE_BYTES));
        let trailer = format!("0\r\nA: {}\r\n\r\n", "b".repeat(MAX_TRAILER_BYTES));
        let bodies = [
            "\r\n",
            "x\r\n",
            "-1\r\na\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "1\na\r\n",
            " 1\r\na\r\n",
            "1 \r\na\r\n",
            "1;\r\na\r\n",
            "1;a;\r\na\r\n",
            "1;a=\"b\r\na\r\n",
            "1;a\u{1}\r\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1111111111111111\r\na\r\n",
            "0\r\nno field\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\nPOST /send/1 HTTP/1.1\r\n\r\n",
            &long,
            &trailer,
        ];
        for body in bodies {
            let whole = read(body.as_bytes(), 0);
            assert!(whole.is_err(), "{body:?}: {whole:?}");
            for cut in 0..=body.len() {
                assert_eq!(read(body.as_bytes(), cut), whole, "{body:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_length_leaves_what_follows() {
        let mut body = Body::Length(3);
        assert_eq!(body.take(&mut b"ab".to_vec()), Ok(Found { n_data: 2, n_used: 2 }));
        assert_eq!(body.take(&mut b"cPOST".to_vec()), Ok(Found { n_data: 1, n_used: 1 }));
        assert!(body.is_at_end());
        let mut body = Body::Length(u64::MAX);
        assert_eq!(body.take(&mut b"ab".to_vec()), Ok(Found { n_data: 2, n_used: 2 }));
    }
}
