//! A line of the memory log, read and written.
//!
//! A line is what the article's shell loop prints: date, unix time, RSS in KB and established
//! connections, tab-separated. Behind those four stand `key=value` columns, also tab-separated, so
//! that the article's own `awk` and gnuplot read this log as they read theirs. There is never a
//! header, a comment or any other line. Four-column logs, and the space-separated lines as the
//! article prints them, are read as well.
//!
//! | column | is |
//! |---|---|
//! | `v` | version of the line, 1 |
//! | `ms` | milliseconds of the unix time beyond its whole second, 0 to 999 |
//! | `conn.PORT` | connections on a port, when several are summed |
//! | `anon_kb` | anonymous part of the RSS |
//! | `kernel_tcp_kb` | memory in TCP buffers, whole machine |
//! | `slab_kb` | kernel memory in TCP socket objects, whole machine |
//! | `threads`, `cpu_ms`, `fds` | threads, CPU time so far in steps of 10 ms, open descriptors |
//! | `gap` | samples missed just before this line |
//! | `step_ms` | milliseconds that the wall clock was stepped by since the line before |
//! | `mark`, `mark_unix`, `mark_ms` | a phase that begins, and when if not with this line; repeated |
//! | `rss_kb.PID`, `anon_kb.PID` | share of a process, when several are summed |
//!
//! The second column stays in whole seconds, as the article's tools want it: several lines of a
//! log with a shorter interval have the same one, and `ms` tells them apart. A time without `ms`
//! is that of the whole second.
//!
//! Any column may be absent, and a reader passes over keys that it does not know: columns are added
//! under the same version. A line whose columns mean something else has another version, and a
//! reader that does not know it calls the line damaged instead of guessing.

use std::fmt;
use std::io::{self, BufRead, Read as _};

use crate::date;

/// The version of the lines that are written here.
pub const VERSION: u64 = 1;

/// The longest line that is read. Ours are below 1 KB, and have 40 bytes more for each of several
/// processes: this is for 25,000 of them. A file that is no log may have no line end at all, and
/// must not be taken into memory to find that out.
pub const LONGEST_LINE_BYTES: u64 = 1024 * 1024;

/// The longest text of a mark that is kept: more does not fit on a chart.
pub const LONGEST_MARK_CHARS: usize = 60;

/// A phase that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When, in seconds since the Unix epoch. `None`: with the sample.
    pub unix_s: Option<u64>,
    /// Milliseconds beyond these seconds.
    pub ms: u64,
    /// What it is called, without tabs and line ends.
    pub text: String,
}

impl Mark {
    /// A mark that begins at `unix_s` or, with `None`, with its sample. What would break a line
    /// becomes a space, and a long text is cut.
    pub fn new(text: &str, unix_s: Option<u64>) -> Self {
        let is_breaking = |char: char| char.is_control() || char.is_whitespace();
        let text = text.trim().chars().map(|char| if is_breaking(char) { ' ' } else { char });
        Self { unix_s, ms: 0, text: text.take(LONGEST_MARK_CHARS).collect() }
    }

    /// When, in milliseconds since the Unix epoch. `None`: with the sample.
    pub fn unix_ms(&self) -> Option<u64> {
        Some(as_ms(self.unix_s?, self.ms))
    }
}

/// Connections on one of several ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnPort {
    /// The port.
    pub port: u16,
    /// Established connections on it.
    pub n_connections: u64,
}

/// What one of several processes has of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The process.
    pub pid: u32,
    /// Its resident memory.
    pub rss_kb: u64,
    /// The anonymous part of it.
    pub anon_kb: Option<u64>,
}

/// One line. Columns that are not known or do not apply are `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// When the sample was taken, in seconds since the Unix epoch.
    pub unix_s: u64,
    /// Milliseconds beyond these seconds.
    pub ms: u64,
    /// Resident memory, in units of 1,024 bytes as `ps` prints it.
    pub rss_kb: u64,
    /// Established connections on the target's listening ports.
    pub n_connections: u64,
    /// The ports that were summed, when there are several.
    pub ports: Vec<OnPort>,
    /// Anonymous part of the resident memory.
    pub anon_kb: Option<u64>,
    /// Kernel memory in TCP buffers, of the whole machine.
    pub kernel_tcp_kb: Option<u64>,
    /// Kernel memory in TCP socket objects, of the whole machine.
    pub slab_kb: Option<u64>,
    /// Threads.
    pub n_threads: Option<u64>,
    /// CPU time used since the process began, user and system. The kernel counts it in steps of
    /// 10 ms.
    pub cpu_ms: Option<u64>,
    /// Open descriptors.
    pub n_fds: Option<u64>,
    /// Samples that are missing between the line before and this one. 0: none.
    pub n_missed: u64,
    /// Milliseconds by which the wall clock was stepped since the line before. 0: it was not.
    pub step_ms: i64,
    /// Phases that begin.
    pub marks: Vec<Mark>,
    /// The processes that were summed, when there are several.
    pub shares: Vec<Share>,
}

impl Sample {
    /// When the sample was taken, in milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        as_ms(self.unix_s, self.ms)
    }

    /// Kernel memory for TCP, buffers and socket objects, as far as it is known.
    pub fn kernel_kb(&self) -> Option<u64> {
        match (self.kernel_tcp_kb, self.slab_kb) {
            (None, None) => None,
            (tcp, slab) => Some(tcp.unwrap_or_default().saturating_add(slab.unwrap_or_default())),
        }
    }
}

/// Seconds and milliseconds beyond them in milliseconds.
fn as_ms(s: u64, ms: u64) -> u64 {
    s.saturating_mul(1_000).saturating_add(ms)
}

/// What one connection costs: memory above that with nobody connected, by connections. `None`
/// without a connection.
pub fn bytes_per_connection(kb: f64, empty_kb: f64, n_connections: f64) -> Option<f64> {
    /// Bytes in the unit that `ps` and `/proc` call KB.
    const BYTES_PER_KB: f64 = 1024.0;
    (n_connections >= 1.0).then(|| (kb - empty_kb) * BYTES_PER_KB / n_connections)
}

/// The line, without its end.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t", date::utc(self.unix_s), self.unix_s)?;
        write!(f, "{}\t{}\tv={VERSION}", self.rss_kb, self.n_connections)?;
        if self.ms > 0 {
            write!(f, "\tms={}", self.ms)?;
        }
        for on in &self.ports {
            write!(f, "\tconn.{}={}", on.port, on.n_connections)?;
        }
        let known = [
            ("anon_kb", self.anon_kb),
            ("kernel_tcp_kb", self.kernel_tcp_kb),
            ("slab_kb", self.slab_kb),
            ("threads", self.n_threads),
            ("cpu_ms", self.cpu_ms),
            ("fds", self.n_fds),
            ("gap", (self.n_missed > 0).then_some(self.n_missed)),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                write!(f, "\t{key}={value}")?;
            }
        }
        if self.step_ms != 0 {
            write!(f, "\tstep_ms={}", self.step_ms)?;
        }
        for mark in &self.marks {
            write!(f, "\tmark={}", mark.text)?;
            if let Some(unix_s) = mark.unix_s {
                write!(f, "\tmark_unix={unix_s}")?;
                if mark.ms > 0 {
                    write!(f, "\tmark_ms={}", mark.ms)?;
                }
            }
        }
        for share in &self.shares {
            write!(f, "\trss_kb.{}={}", share.pid, share.rss_kb)?;
            if let Some(anon_kb) = share.anon_kb {
                write!(f, "\tanon_kb.{}={anon_kb}", share.pid)?;
            }
        }
        Ok(())
    }
}

/// Reads a line, without its end. An error says what is wrong with it.
pub fn parse_line(line: &str) -> Result<Sample, String> {
    let line = line.trim_end_matches('\r');
    if !line.contains('\t') {
        return parse_printed(line);
    }
    let mut fields = line.split('\t');
    let _date = fields.next();
    let mut number = |name: &str| {
        let field = fields.next().ok_or_else(|| format!("it ends before its {name}"))?;
        whole(field).ok_or_else(|| format!("its {name} is \"{field}\", not a number"))
    };
    let mut sample = Sample {
        unix_s: number("unix time")?,
        rss_kb: number("RSS")?,
        n_connections: number("connections")?,
        ..Sample::default()
    };
    for field in fields {
        read_column(&mut sample, field)?;
    }
    Ok(sample)
}

/// Reads a line as the article prints it: a date of any words, then three numbers.
fn parse_printed(line: &str) -> Result<Sample, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let numbers: Option<Vec<u64>> = words.iter().rev().take(3).map(|word| whole(word)).collect();
    match numbers.as_deref() {
        Some(&[n_connections, rss_kb, unix_s]) if words.len() > 3 => {
            Ok(Sample { unix_s, rss_kb, n_connections, ..Sample::default() })
        }
        _ => Err("it does not end in unix time, RSS and connections".to_owned()),
    }
}

/// Takes a `key=value` column into `sample`. A key of a later version is left alone.
fn read_column(sample: &mut Sample, field: &str) -> Result<(), String> {
    let bad = || format!("its column \"{field}\" is not understood");
    let (key, value) = field.split_once('=').ok_or_else(bad)?;
    let number = || whole(value).ok_or_else(bad);
    let ms = || whole(value).filter(|ms| *ms < 1_000).ok_or_else(bad);
    match key {
        "v" => {
            if number()? != VERSION {
                return Err(format!("it is of version {value}, not {VERSION}"));
            }
        }
        "ms" => sample.ms = ms()?,
        "anon_kb" => sample.anon_kb = Some(number()?),
        "kernel_tcp_kb" => sample.kernel_tcp_kb = Some(number()?),
        "slab_kb" => sample.slab_kb = Some(number()?),
        "threads" => sample.n_threads = Some(number()?),
        "cpu_ms" => sample.cpu_ms = Some(number()?),
        "fds" => sample.n_fds = Some(number()?),
        "gap" => sample.n_missed = number()?,
        "step_ms" => sample.step_ms = value.parse().map_err(|_| bad())?,
        "mark" => sample.marks.push(Mark::new(value, None)),
        "mark_unix" => sample.marks.last_mut().ok_or_else(bad)?.unix_s = Some(number()?),
        "mark_ms" => sample.marks.last_mut().ok_or_else(bad)?.ms = ms()?,
        _ => {
            if let Some(port) = key.strip_prefix("conn.") {
                let port = port.parse().map_err(|_| bad())?;
                sample.ports.push(OnPort { port, n_connections: number()? });
            } else if let Some(pid) = key.strip_prefix("rss_kb.") {
                let pid = pid.parse().map_err(|_| bad())?;
                sample.shares.push(Share { pid, rss_kb: number()?, anon_kb: None });
            } else if key.starts_with("anon_kb.") {
                sample.shares.last_mut().ok_or_else(bad)?.anon_kb = Some(number()?);
            }
        }
    }
    Ok(())
}

/// Reads a whole number, which other tools may have set off with spaces.
fn whole(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its number, from 1 on.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Reads a log line by line, and calls `take` with each sample and `damaged` with each line that
/// is none. Blank lines are passed over.
///
/// A tab-separated last line without its end is damage: its last number may lack digits.
pub fn read(
    mut log: impl BufRead,
    mut take: impl FnMut(Sample),
    mut damaged: impl FnMut(Damage),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if log.by_ref().take(LONGEST_LINE_BYTES).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let is_ended = bytes.last() == Some(&b'\n');
        let text = std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\n', '\r']));
        match text {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) if !is_ended && text.contains('\t') => {
                damaged(Damage { line, why: "it is not finished".to_owned() });
            }
            Ok(text) => match parse_line(text) {
                Ok(sample) => take(sample),
                Err(why) => damaged(Damage { line, why }),
            },
            Err(_) => damaged(Damage { line, why: "it is not text".to_owned() }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_begins_as_the_articles_log_does() {
        let sample =
            Sample { unix_s: 1_224_518_244, rss_kb: 40_388, n_connections: 1, ..Sample::default() };
        assert_eq!(sample.to_string(), "Mon Oct 20 15:57:24 UTC 2008\t1224518244\t40388\t1\tv=1");
    }

    #[test]
    fn a_line_with_every_column_is_read_back() {
        let sample = Sample {
            unix_s: 1_700_000_000,
            ms: 7,
            rss_kb: 3_000,
            n_connections: 10_001,
            ports: vec![
                OnPort { port: 8000, n_connections: 10_000 },
                OnPort { port: 8001, n_connections: 1 },
            ],
            anon_kb: Some(2_000),
            kernel_tcp_kb: Some(220),
            slab_kb: Some(97_000),
            n_threads: Some(3),
            cpu_ms: Some(1_230),
            n_fds: Some(10_020),
            n_missed: 2,
            step_ms: -3_600_001,
            marks: vec![
                Mark::new("restart", None),
                Mark { ms: 250, ..Mark::new("msggen\tstarts = now", Some(1_699_999_990)) },
            ],
            shares: vec![
                Share { pid: 7, rss_kb: 1_000, anon_kb: None },
                Share { pid: 8, rss_kb: 2_000, anon_kb: Some(1_500) },
            ],
        };
        assert_eq!(parse_line(&sample.to_string()), Ok(sample.clone()));
        assert_eq!(sample.unix_ms(), 1_700_000_000_007);
        assert_eq!(sample.marks[1].unix_ms(), Some(1_699_999_990_250));
    }

    #[test]
    fn the_articles_printed_line_and_its_four_columns_are_read() {
        let expected = Sample {
            unix_s: 1_224_518_305,
            rss_kb: 41_120,
            n_connections: 263,
            ..Sample::default()
        };
        for line in [
            "Mon Oct 20 16:58:25 BST 2008 1224518305 41120 263",
            "Mon Oct 20 16:58:25 BST 2008\t1224518305\t41120\t263",
            "Mo 20. Okt 16:58:25 CEST 2008\t1224518305\t 41120\t     263\r",
        ] {
            assert_eq!(parse_line(line), Ok(expected.clone()), "{line:?}");
        }
    }

    #[test]
    fn damage_is_named_by_line_and_the_rest_is_read() {
        let log = "d\t1\t2\t3\n\nd\t1\t\t3\n\u{0}PNG\nd\t4\t5\t6\tfd=1\tv=1\nd\t7\t8\t9\tv=2\n\
             d\t8\t8\t8\tms=1000\nd\t9\t9";
        let (mut samples, mut damage) = (Vec::new(), Vec::new());
        read(log.as_bytes(), |it| samples.push(it.unix_s), |it| damage.push(it)).unwrap();
        assert_eq!(samples, [1, 4]);
        let damage: Vec<String> =
            damage.iter().map(|it| format!("{}: {}", it.line, it.why)).collect();
        assert_eq!(
            damage,
            [
                "3: its RSS is \"\", not a number",
                "4: it does not end in unix time, RSS and connections",
                "6: it is of version 2, not 1",
                "7: its column \"ms=1000\" is not understood",
                "8: it is not finished",
            ]
        );
    }

    #[test]
    fn bytes_per_connection_are_counted_above_the_empty_server() {
        assert_eq!(
            bytes_per_connection(90_964.0, 40_156.0, 10_001.0).map(f64::round),
            Some(5202.0)
        );
        assert_eq!(bytes_per_connection(40_156.0, 40_156.0, 0.0), None);
    }
}
