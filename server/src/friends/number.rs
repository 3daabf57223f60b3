//! Numbers of variable length (LEB128): seven bits a byte, the lowest first, and a bit that says
//! whether more follow.

/// Bytes of the longest number.
pub(super) const MAX_NUMBER_BYTES: usize = 10;

/// Bytes that no version of this server has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store of friends is damaged: what stands in it is no list of ids")]
pub(super) struct Damaged;

/// Appends a number.
pub(super) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let bits = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            return out.push(bits);
        }
        out.push(bits | 0x80);
    }
}

/// Takes a number off the front.
pub(super) fn take_number(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Damaged)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(Damaged);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_they_went_in() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            assert!(bytes.len() <= MAX_NUMBER_BYTES);
            assert_eq!(take_number(&mut &bytes[..]), Ok(number));
        }
    }

    #[test]
    fn numbers_that_do_not_end_or_are_too_large_are_damage() {
        let mut too_large = [0xff; MAX_NUMBER_BYTES];
        too_large[9] = 2;
        for bytes in [&[0x80][..], &[0xff; MAX_NUMBER_BYTES], &too_large] {
            assert_eq!(take_number(&mut &bytes[..]), Err(Damaged), "{bytes:?}");
        }
    }
}
