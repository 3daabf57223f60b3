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
//! | `pss_kb` | PSS, in which shared pages count once: at marks, at the end, and every 10 min |
//! | `no_pss` | why `pss_kb` was due and was not read: `large`, `slow` or `denied` |
//! | `kernel_tcp_kb` | memory in TCP buffers, whole machine |
//! | `slab_kb` | kernel memory in TCP socket objects, whole machine |
//! | `threads`, `cpu_ms`, `fds` | threads, CPU time so far in steps of 10 ms, open descriptors |
//! | `gap` | samples missed just before this line |
//! | `step_ms` | milliseconds that the wall clock was stepped by since the line before |
//! | `mark`, `mark_unix`, `mark_ms` | a phase that begins, and when, if not with this line |
//! | `rss_kb.PID`, `anon_kb.PID` | share of a process, when several are summed |
//!
//! The RSS of several processes is a sum: a page that n of them share, as forked workers share most
//! of theirs, counts n times. `pss_kb` counts it once.
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

/// What the mark begins with that says that other processes are watched now than before.
const PROCESSES_CHANGED: &str = "processes: ";

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

    /// A mark with its sample: from here on other processes are watched than before.
    pub fn of_processes(n_new: usize, n_gone: usize, n_in_all: usize) -> Self {
        Self::new(&format!("{PROCESSES_CHANGED}{n_new} new, {n_gone} gone, {n_in_all} now"), None)
    }

    /// Whether a phase begins with it that ends the one before. A change of the watched processes,
    /// such as a reload of nginx, falls into a phase and does not end it.
    pub fn is_phase(&self) -> bool {
        !self.text.starts_with(PROCESSES_CHANGED)
    }

    /// When, in milliseconds since the Unix epoch. `None`: with the sample.
    pub fn unix_ms(&self) -> Option<u64> {
        Some(as_ms(self.unix_s?, self.ms))
    }
}

/// Why the PSS was due and was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoPss {
    /// A process has so much memory that reading it would hold the process up.
    Large,
    /// The last reading took so long that the process may have been held up.
    Slow,
    /// The system does not let this user read it.
    Denied,
}

impl NoPss {
    /// Every reason.
    const ALL: [Self; 3] = [Self::Large, Self::Slow, Self::Denied];

    /// The word in the log.
    fn word(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Slow => "slow",
            Self::Denied => "denied",
        }
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
    /// Resident memory, in units of 1,024 bytes as `ps` prints it. Of several processes it is the
    /// sum, in which pages that they share count once for each.
    pub rss_kb: u64,
    /// Established connections on the target's listening ports.
    pub n_connections: u64,
    /// The ports that were summed, when there are several.
    pub ports: Vec<OnPort>,
    /// Anonymous part of the resident memory.
    pub anon_kb: Option<u64>,
    /// Proportional part of the resident memory, in which shared pages count once.
    pub pss_kb: Option<u64>,
    /// Why the PSS was due and is not known.
    pub no_pss: Option<NoPss>,
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
            ("pss_kb", self.pss_kb),
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
        if let Some(reason) = self.no_pss {
            write!(f, "\tno_pss={}", reason.word())?;
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
        "pss_kb" => sample.pss_kb = Some(number()?),
        // A reason that is not known here comes from a later version, as an unknown key does.
        "no_pss" => sample.no_pss = NoPss::ALL.into_iter().find(|it| it.word() == value),
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
mod tests;
