//! Commands to a broker, as bytes. What a broker says is read in `replies`.

/// Appends a command.
pub(super) fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    begin(out, arguments.len());
    for argument in arguments {
        self::argument(out, &[argument]);
    }
}

/// Appends the beginning of a command of `n` arguments.
pub(super) fn begin(out: &mut Vec<u8>, n: usize) {
    out.push(b'*');
    number(out, n);
}

/// Appends an argument, given in pieces.
pub(super) fn argument(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.push(b'$');
    number(out, pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number and the end of its line.
fn number(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(n.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"AUTH", b"", b"\r\n"]);
        assert_eq!(out, b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
    }
}
