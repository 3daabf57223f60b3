//! What a memlog and the one on another host say to each other: lines of a word and what belongs to
//! it. Both are of one version, which is the first that is looked at.

use std::os::fd::AsFd;
use std::time::Duration;

use reports::memory_log::LONGEST_LINE_BYTES;

/// What the first line begins with, before the version.
pub(super) const HELLO: &str = "memlog-worker ";

/// How long each side goes on without a word from the other, which says something each second. The
/// one on the host goes on for longer, so that the one here is the first to know, and says so.
pub(super) const SILENCE_HERE: Duration = Duration::from_secs(8);

/// How long a host goes on without a word.
pub(super) const SILENCE_THERE: Duration = Duration::from_secs(10);

/// How often the one here says something.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(1);

/// Bytes of a line from either side: one of the log ([`LONGEST_LINE_BYTES`]), and what stands
/// before it.
const MAX_LINE_BYTES: u64 = LONGEST_LINE_BYTES + 256;

/// Bytes taken at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// What the one here says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// What to record, as flags.
    Record(Vec<String>),
    /// What time it is there, asked at this time here, in microseconds since boot.
    Ping(i64),
    /// A phase begins.
    Mark(String),
    /// It is to take its last sample.
    End,
}

/// What the one on the host says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was asked at `sent_us`, here, when it was `there_us`, there, both since boot.
    Pong { sent_us: i64, there_us: i64 },
    /// A line of the log, and when it was taken there, since boot.
    Sample { there_us: i64, line: String },
    /// Something for people. That it has found what it is to watch is the first.
    Told(String),
    /// What it fell short of.
    Short(String),
    /// Why it could not begin.
    Failed(String),
    /// All is said.
    Done,
}

impl Order {
    /// As a line, without its end.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Record(flags) => {
                let flags: Vec<String> = flags.iter().map(|flag| clean(flag)).collect();
                format!("record\t{}", flags.join("\t"))
            }
            Self::Ping(sent_us) => format!("ping {sent_us}"),
            Self::Mark(text) => format!("mark {}", clean(text)),
            Self::End => "end".to_owned(),
        }
    }

    /// From a line; `None` if it is none.
    pub(super) fn of(line: &str) -> Option<Self> {
        if let Some(flags) = line.strip_prefix("record\t") {
            return Some(Self::Record(flags.split('\t').map(str::to_owned).collect()));
        }
        match line.split_once(' ') {
            Some(("ping", sent_us)) => Some(Self::Ping(sent_us.parse().ok()?)),
            Some(("mark", text)) => Some(Self::Mark(text.to_owned())),
            None if line == "end" => Some(Self::End),
            _ => None,
        }
    }
}

impl Said {
    /// As a line, without its end.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Pong { sent_us, there_us } => format!("pong {sent_us} {there_us}"),
            Self::Sample { there_us, line } => format!("sample {there_us} {line}"),
            Self::Told(text) => format!("told {}", clean(text)),
            Self::Short(text) => format!("short {}", clean(text)),
            Self::Failed(text) => format!("failed {}", clean(text)),
            Self::Done => "done".to_owned(),
        }
    }

    /// From a line; `None` if it is none.
    pub(super) fn of(line: &str) -> Option<Self> {
        let of_text = |text: &str, word: fn(String) -> Self| Some(word(clean(text)));
        match line.split_once(' ') {
            Some(("pong", times)) => {
                let (sent_us, there_us) = times.split_once(' ')?;
                Some(Self::Pong {
                    sent_us: sent_us.parse().ok()?,
                    there_us: there_us.parse().ok()?,
                })
            }
            Some(("sample", rest)) => {
                let (there_us, line) = rest.split_once(' ')?;
                Some(Self::Sample { there_us: there_us.parse().ok()?, line: line.to_owned() })
            }
            Some(("told", text)) => of_text(text, Self::Told),
            Some(("short", text)) => of_text(text, Self::Short),
            Some(("failed", text)) => of_text(text, Self::Failed),
            None if line == "done" => Some(Self::Done),
            _ => None,
        }
    }
}

/// A text in one line, which does nothing to the terminal that shows it.
pub(super) fn clean(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A time since boot in microseconds, as the two tell each other.
pub(super) fn as_us(uptime: Duration) -> i64 {
    i64::try_from(uptime.as_micros()).unwrap_or(i64::MAX)
}

/// What has come and was not looked at.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Bytes, of lines whose last may be unfinished.
    bytes: Vec<u8>,
}

impl Lines {
    /// Takes what has come, and waits for it if nothing has. False: no more will come.
    pub(super) fn fill(&mut self, from: impl AsFd) -> bool {
        let mut room = vec![0; RECEIVE_BYTES];
        match rustix::io::read(from, &mut room) {
            Ok(0) => false,
            Ok(n) => {
                self.bytes.extend_from_slice(&room[..n]);
                true
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    /// The next line, without its end. An error: it is longer than any of ours.
    pub(super) fn next(&mut self) -> Result<Option<String>, TooLong> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return if self.bytes.len() as u64 > MAX_LINE_BYTES { Err(TooLong) } else { Ok(None) };
        };
        let rest = self.bytes.split_off(end + 1);
        let line = std::mem::replace(&mut self.bytes, rest);
        Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()))
    }

    /// What has come so far, as text.
    pub(super) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A line is longer than any of ours.
#[derive(Debug)]
pub(super) struct TooLong;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let flags = ["--name=a b".to_owned(), "--interval=1s".to_owned()].to_vec();
        for order in [Order::Record(flags), Order::Ping(-7), Order::Mark("a  b".into()), Order::End]
        {
            assert_eq!(Order::of(&order.line()).as_ref(), Some(&order));
        }
        let sample = Said::Sample { there_us: 12, line: "a\t1\t2 3".into() };
        let told = Said::Told("it is so".into());
        for said in [Said::Pong { sent_us: 1, there_us: 2 }, sample, told, Said::Done] {
            assert_eq!(Said::of(&said.line()).as_ref(), Some(&said));
        }
        for line in ["", "pong 1", "pong a b", "sample 1", "sample x y", "done so", "hello"] {
            assert_eq!(Said::of(line), None, "{line:?}");
        }
        for line in ["", "ping", "ping x", "end of it", "record"] {
            assert_eq!(Order::of(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_text_does_nothing_to_a_terminal_and_stays_in_its_line() {
        assert_eq!(Said::of("told a\u{1b}[2Jb"), Some(Said::Told("a [2Jb".into())));
        assert_eq!(Said::Told("a\nfailed b".into()).line(), "told a failed b");
        let flag = Order::Record(vec!["--name=a\n--b\tc".into()]).line();
        assert_eq!(Order::of(&flag), Some(Order::Record(vec!["--name=a --b c".into()])));
    }

    #[test]
    fn lines_may_come_in_any_pieces_and_have_an_end() {
        let (from, mut to) = std::io::pipe().unwrap();
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["a", "b\nc", "d\n\nlast"] {
            std::io::Write::write_all(&mut to, piece.as_bytes()).unwrap();
            assert!(lines.fill(&from));
            while let Some(line) = lines.next().unwrap() {
                seen.push(line);
            }
        }
        drop(to);
        assert!(!lines.fill(&from));
        assert_eq!((seen.join("|"), lines.so_far()), ("ab|cd|".to_owned(), "last".to_owned()));
        lines.bytes = vec![b'x'; usize::try_from(MAX_LINE_BYTES).unwrap() + 1];
        lines.next().unwrap_err();
    }
}
