//! Who sends on this machine.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use reports::announced::Announced;
use reports::stamp::Sender;

/// The kernel's list of sockets: one line each, its name last, an abstract one with an `@` before
/// it.
const LIST: &str = "/proc/net/unix";

/// Bytes of that list that are read, some 100,000 lines: a machine that has more sockets in files
/// is not one to measure on.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Senders that are known at once. Each is a process; more of them are not told apart from a list
/// that somebody has filled.
const MAX_SENDERS: usize = 1_000;

/// The senders that announce themselves on this machine now.
pub(crate) fn announced() -> io::Result<BTreeSet<Announced>> {
    in_list(BufReader::new(File::open(LIST)?.take(MAX_LIST_BYTES)))
}

/// The senders in the kernel's list.
fn in_list(mut list: impl BufRead) -> io::Result<BTreeSet<Announced>> {
    let mut found = BTreeSet::new();
    let mut line = Vec::new();
    while found.len() < MAX_SENDERS && list.read_until(b'\n', &mut line)? > 0 {
        // Names may have any bytes in them.
        let name = str::from_utf8(&line).ok().and_then(|line| line.split_ascii_whitespace().last());
        found.extend(name.and_then(|name| name.strip_prefix('@')?.parse::<Announced>().ok()));
        line.clear();
    }
    Ok(found)
}

/// The senders that have announced themselves on the sender's host, over a run.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    /// All that there were at any time.
    announced: BTreeSet<Announced>,
}

impl Senders {
    /// Takes in those that are there now: [`announced`], or what the sender's host says.
    pub(crate) fn add(&mut self, announced: impl IntoIterator<Item = Announced>) {
        for it in announced {
            if self.announced.len() < MAX_SENDERS {
                self.announced.insert(it);
            }
        }
    }

    /// All clocks, by their zero, that a sender has announced.
    pub(crate) fn zeros_of(&self, sender: Sender) -> impl Iterator<Item = i64> {
        let first = Announced { sender, zero_us: i64::MIN };
        let its = self.announced.range(first..).take_while(move |it| it.sender == sender);
        its.map(|it| it.zero_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_announces_itself_is_found_as_long_as_it_does() {
        let sender = Sender(std::process::id());
        let here = Announced { sender, zero_us: 1_764_022_500_123_456 };
        let socket = here.announce().unwrap();
        assert!(announced().unwrap().contains(&here));
        drop(socket);
        assert!(!announced().unwrap().contains(&here));
    }

    #[test]
    fn other_sockets_are_no_senders() {
        let list = b"Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 14 /run/x
0000000000000000: 00000003 00000000 00000000 0001 03 15
0000000000000000: 00000003 00000000 00000000 0002 01 16 @\xff\xfe
0000000000000000: 00000003 00000000 00000000 0002 01 17 msggen/0badcafe/1
0000000000000000: 00000003 00000000 00000000 0002 01 18 @msggen/0badcafe/x
0000000000000000: 00000003 00000000 00000000 0002 01 19 @msggen/0badcafe/2
0000000000000000: 00000003 00000000 00000000 0002 01 20 @msggen/00000001/-3";
        let found = in_list(&list[..]).unwrap();
        let of = |sender, zero_us| Announced { sender: Sender(sender), zero_us };
        assert_eq!(Vec::from_iter(found), [of(1, -3), of(0x0bad_cafe, 2)]);
    }

    #[test]
    fn a_list_that_somebody_has_filled_is_not_kept_whole() {
        let line = |n| format!("x @msggen/{}/{n}\n", Sender(n));
        let list: String = (0..2_000).map(line).collect();
        let found = in_list(list.as_bytes()).unwrap();
        assert_eq!(found.len(), MAX_SENDERS);
        let mut senders = Senders::default();
        senders.add(found);
        senders.add([Announced { sender: Sender(5_000), zero_us: 0 }]);
        assert_eq!(senders.zeros_of(Sender(7)).collect::<Vec<_>>(), [7]);
        assert_eq!(senders.zeros_of(Sender(5_000)).count(), 0);
    }
}
