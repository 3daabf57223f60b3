//! The log file: whole lines only, whatever happens to the disk or to this process.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use reports::memory_log::{self, LONGEST_LINE_BYTES, Sample};
use rustix::fs::{FlockOperation, OFlags, flock};

use crate::error::Error;

/// Lines that wait for room on a full disk: four days of samples a minute, at 180 bytes each.
/// Beyond it the newest are dropped, and counted as missed.
const BACKLOG_BYTES: usize = 1024 * 1024;

/// An open log, which no other memlog has open.
#[derive(Debug)]
pub struct Log {
    /// Where it is.
    path: PathBuf,
    /// The file.
    file: File,
    /// Bytes of whole lines in it.
    length: u64,
    /// Whether part of a line stands behind them, and could not be cut off yet.
    is_torn: bool,
    /// Size past which a new file is begun.
    rotate_bytes: Option<u64>,
    /// Whole lines that the disk did not take yet.
    backlog: String,
}

/// What was found in a log that is gone on with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of an unfinished last line, which were cut off.
    pub torn_bytes: u64,
    /// When its last sample was taken, in milliseconds since the Unix epoch.
    pub last_unix_ms: Option<u64>,
    /// Where the lines really go, if its path is a link. Somebody else may have put it there.
    pub leads_to: Option<PathBuf>,
}

impl Log {
    /// Opens the log at `path` to append to it, calls `take` with the samples that it holds, and
    /// cuts off an unfinished last line. A file that is no log is left alone.
    pub fn open(
        path: &Path,
        rotate_bytes: Option<u64>,
        mut take: impl FnMut(Sample),
    ) -> Result<(Self, Found), Error> {
        let error = |source| Error::Log { path: path.to_owned(), source };
        let is_link = fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink());
        let mut file = open_locked(OpenOptions::new().create(true), path)?;
        let leads_to = if is_link { Some(fs::canonicalize(path).map_err(error)?) } else { None };
        let length = file.metadata().map_err(error)?.len();
        let end = end_of_lines(&mut file, length).map_err(error)?;
        let mut found = Found { torn_bytes: length - end, last_unix_ms: None, leads_to };
        let (mut n_samples, mut n_damaged) = (0_u64, 0_u64);
        file.rewind().map_err(error)?;
        let lines = BufReader::new((&file).take(end));
        let take = |sample: Sample| {
            n_samples += 1;
            found.last_unix_ms = Some(sample.unix_ms());
            take(sample);
        };
        memory_log::read(lines, take, |_| n_damaged += 1).map_err(error)?;
        // Damage in a log is left where it is; a file of nothing else is somebody's file.
        if n_samples == 0 && (n_damaged > 0 || !may_be_torn(&mut file, end).map_err(error)?) {
            return Err(Error::NoLog(path.to_owned()));
        }
        if n_samples == 0 && rotate_bytes.is_some() {
            // A run that ended just after it set a log aside has its last line in there.
            found.last_unix_ms = last_set_aside(path).map_err(error)?;
        }
        file.set_len(end).map_err(error)?;
        let (path, backlog) = (path.to_owned(), String::new());
        let log = Self { path, file, length: end, is_torn: false, rotate_bytes, backlog };
        Ok((log, found))
    }

    /// A log that keeps nothing, where lines are kept elsewhere.
    pub fn nowhere() -> Result<Self, Error> {
        let path = PathBuf::from("/dev/null");
        let opened = OpenOptions::new().append(true).open(&path);
        let file = opened.map_err(|source| Error::Log { path: path.clone(), source })?;
        let backlog = String::new();
        Ok(Self { path, file, length: 0, is_torn: false, rotate_bytes: None, backlog })
    }

    /// Takes the line of `sample`, which waits for [`Log::write`] behind those that wait already.
    /// False when there is no room for it.
    #[must_use]
    pub fn push(&mut self, sample: &Sample) -> bool {
        let line = format!("{sample}\n");
        let has_room = self.backlog.len() + line.len() <= BACKLOG_BYTES;
        if has_room {
            self.backlog.push_str(&line);
        }
        has_room
    }

    /// Writes the lines that wait, as far as the disk takes them.
    pub fn write(&mut self) -> io::Result<()> {
        let mut backlog = std::mem::take(&mut self.backlog);
        let mut n_written = 0;
        let mut lines = backlog.split_inclusive('\n');
        let written = lines.try_for_each(|line| {
            self.write_line(line)?;
            n_written += line.len();
            Ok(())
        });
        backlog.drain(..n_written);
        self.backlog = backlog;
        written
    }

    /// Writes a line, or nothing of it.
    fn write_line(&mut self, line: &str) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        let n_bytes = line.len() as u64;
        if self.rotate_bytes.is_some_and(|limit| self.length > 0 && self.length + n_bytes > limit) {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // A full disk takes part of a line. What is left of it would be a torn one.
            self.is_torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += n_bytes;
        Ok(())
    }

    /// Lines that the disk has not taken.
    pub fn n_waiting(&self) -> usize {
        self.backlog.lines().count()
    }

    /// Moves the file to the next free of `path.1`, `path.2`, …, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let (_, old) = set_aside(&self.path)?;
        fs::rename(&self.path, &old)?;
        // Nothing has this name now. Whatever takes it in between, such as a link, is not opened.
        let file = open_locked(OpenOptions::new().create_new(true), &self.path);
        let file = file.map_err(io::Error::other);
        match file {
            Ok(file) => (self.file, self.length) = (file, 0),
            // The old file is gone on with, under its own name.
            Err(error) => {
                fs::rename(&old, &self.path)?;
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The names of the last log that was set aside, if there is one, and of the next.
fn set_aside(path: &Path) -> io::Result<(Option<OsString>, OsString)> {
    let mut last = None;
    for number in 1_u64.. {
        let mut name = OsString::from(path);
        name.push(format!(".{number}"));
        // A link that leads nowhere is there, too.
        match fs::symlink_metadata(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((last, name)),
            found => found?,
        };
        last = Some(name);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// When the last sample in the last log that was set aside was taken, in milliseconds since the
/// Unix epoch.
fn last_set_aside(path: &Path) -> io::Result<Option<u64>> {
    let (Some(name), _) = set_aside(path)? else { return Ok(None) };
    let mut last = None;
    let take = |sample: Sample| last = Some(sample.unix_ms());
    // Whatever has that name must not hold the run up, as a pipe would until somebody writes.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(name)?;
    if file.metadata()?.is_file() {
        memory_log::read(BufReader::new(file), take, |_| {})?;
    }
    Ok(last)
}

/// The name under which marks for the log at `path` are taken: that of a socket in the abstract
/// namespace, which needs no file and leaves none behind. It is made of the folder and the file's
/// name, and so stays when the log is rotated.
pub fn mark_name(path: &Path) -> io::Result<String> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = fs::metadata(folder)?;
    let mut hasher = DefaultHasher::new();
    path.file_name().hash(&mut hasher);
    Ok(format!("memlog/{}:{}/{:x}", folder.dev(), folder.ino(), hasher.finish()))
}

/// Opens the file at `path` to read and append, with further `options`, and locks it against other
/// memlogs.
fn open_locked(options: &mut OpenOptions, path: &Path) -> Result<File, Error> {
    let error = |source| Error::Log { path: path.to_owned(), source };
    let open = options.read(true).append(true).open(path);
    let file = open.map_err(error)?;
    if !file.metadata().map_err(error)?.is_file() {
        return Err(Error::NoLog(path.to_owned()));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::LogInUse(path.to_owned())),
        Err(other) => Err(error(other.into())),
    }
}

/// Where the last whole line ends, looked for from the end.
fn end_of_lines(file: &mut File, length: u64) -> io::Result<u64> {
    /// Bytes read at a time: more than a line.
    const BLOCK_BYTES: u64 = 4096;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Whether what stands behind `end` can be the beginning of a line of ours, or nothing.
fn may_be_torn(file: &mut File, end: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(end))?;
    let mut rest = Vec::new();
    file.take(LONGEST_LINE_BYTES).read_to_end(&mut rest)?;
    let date = reports::date::utc(0);
    let is_like = |(byte, model): (&u8, u8)| match model {
        b' ' | b':' => *byte == model,
        model if model.is_ascii_alphabetic() => byte.is_ascii_alphabetic(),
        _ => byte.is_ascii_digit() || *byte == b' ',
    };
    Ok((rest.len() as u64) < LONGEST_LINE_BYTES && rest.iter().zip(date.bytes()).all(is_like))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sample at a time.
    fn sample(unix_s: u64) -> Sample {
        Sample { unix_s, rss_kb: 40_388, n_connections: 1, ..Sample::default() }
    }

    /// Opens a log and counts what it holds.
    fn open(path: &Path) -> Result<(Log, Found, usize), Error> {
        let mut n_samples = 0;
        let (log, found) = Log::open(path, None, |_| n_samples += 1)?;
        Ok((log, found, n_samples))
    }

    /// Appends a sample that is taken at a time.
    fn append(log: &mut Log, unix_s: u64) -> io::Result<()> {
        assert!(log.push(&sample(unix_s)));
        log.write()
    }

    #[test]
    fn a_line_cut_anywhere_is_repaired_and_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mem.log");
        let (first, second) = (format!("{}\n", sample(100)), format!("{}\n", sample(160)));
        for cut in 0..second.len() {
            fs::write(&path, format!("{first}{}", &second[..cut])).unwrap();
            let (mut log, found, n_samples) = open(&path).unwrap();
            assert_eq!((found.torn_bytes, found.last_unix_ms), (cut as u64, Some(100_000)));
            assert_eq!(n_samples, 1);
            append(&mut log, 220).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{first}{}\n", sample(220)));
            drop(log);
            fs::write(&path, &second[..cut]).unwrap();
            assert_eq!(open(&path).unwrap_or_else(|error| panic!("{error}, {cut}")).2, 0);
        }
    }

    #[test]
    fn a_file_that_is_no_log_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        for text in ["dear diary\ntoday", "dear diary", "\u{1}\u{2}\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(open(&path), Err(Error::NoLog(_))), "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert!(matches!(open(dir.path()), Err(Error::Log { .. })));
    }

    #[test]
    fn two_memlogs_do_not_share_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mem.log");
        let first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(Error::LogInUse(_))));
        drop(first);
        open(&path).unwrap();
    }

    #[test]
    fn a_full_log_is_set_aside_and_none_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mem.log");
        let line_bytes = sample(1_000).to_string().len() as u64 + 1;
        let (mut log, _) = Log::open(&path, Some(2 * line_bytes), |_| {}).unwrap();
        for n in 0..5 {
            append(&mut log, 1_000 + n).unwrap();
        }
        let n_lines =
            |name: &str| fs::read_to_string(dir.path().join(name)).unwrap().lines().count();
        assert_eq!((n_lines("mem.log.1"), n_lines("mem.log.2"), n_lines("mem.log")), (2, 2, 1));
        drop(log);
        // Killed after it set a log aside, and before it began the next.
        fs::remove_file(&path).unwrap();
        let (_, found) = Log::open(&path, Some(2 * line_bytes), |_| {}).unwrap();
        assert_eq!(found.last_unix_ms, Some(1_003_000));
    }

    #[test]
    fn a_link_is_followed_only_where_it_was_given_and_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("mem.log"), dir.path().join("real.log"));
        symlink(&real, &path).unwrap();
        let line_bytes = sample(1_000).to_string().len() as u64 + 1;
        let (mut log, found) = Log::open(&path, Some(line_bytes), |_| {}).unwrap();
        assert_eq!(found.leads_to, Some(fs::canonicalize(&real).unwrap()));
        append(&mut log, 1_000).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), format!("{}\n", sample(1_000)));
        // Set aside, the link has another name, and nobody's link under a name to come is taken.
        let precious = dir.path().join("precious");
        symlink(&precious, dir.path().join("mem.log.1")).unwrap();
        append(&mut log, 1_001).unwrap();
        assert!(!precious.exists() && !fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_link(dir.path().join("mem.log.2")).unwrap(), real);
        drop(log);
        assert_eq!(open(&path).unwrap().1.leads_to, None);
    }

    #[test]
    fn lines_wait_while_the_disk_takes_none_and_come_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mem.log");
        let (mut log, _, _) = open(&path).unwrap();
        // A file that was opened to be read takes no line, as a full disk takes none.
        let good = std::mem::replace(&mut log.file, File::open(&path).unwrap());
        append(&mut log, 100).unwrap_err();
        append(&mut log, 160).unwrap_err();
        assert_eq!((log.n_waiting(), fs::metadata(&path).unwrap().len()), (2, 0));
        log.file = good;
        append(&mut log, 220).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let times: Vec<u64> =
            text.lines().map(|it| memory_log::parse_line(it).unwrap().unix_s).collect();
        assert_eq!(times, [100, 160, 220]);
    }
}
