//! A whole store from an edge list: sorted in runs of bounded memory, then written in order.
//!
//! The text has a line `A B` for each edge: A follows B. Blank lines and lines that begin with `#`
//! are skipped. The store is made in a folder of its own beside the one that it is for, and gets
//! its name when everything is durable: so there is all or nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::leaf::Pair;
use super::number::{Damaged, MAX_NUMBER_BYTES, put_number, take_number};
use super::recent::Direction;
use super::store::{self, FILE, StoreError};
use crate::request::{check_id, parse_id};
use crate::router::Id;

/// Edges that are sorted at a time: 64 MiB. Longer lists are sorted in several runs, which are
/// merged.
const RUN_EDGES: usize = 4 << 20;

/// Runs that are merged: each has a file open, and 32 KiB. So a list has up to four billion edges.
const MAX_RUNS: usize = 1_000;

/// Bytes in a line of a list: two of the largest ids take 39.
const MAX_LINE_BYTES: usize = 256;

/// Bytes of a list that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Bytes of a run that are read and written at a time.
const RUN_BUFFER_BYTES: usize = 32 * 1024;

/// Memory that the store keeps pages in while it is written: they are written once, in order.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Lines between two words on how far it is.
const PROGRESS_LINES: u64 = 1 << 18;

/// What was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Lines that name an edge.
    pub(super) lines: u64,
    /// Edges in the store: each once.
    pub(super) edges: u64,
    /// Edges that were named again, which changes nothing.
    pub(super) repeated: u64,
    /// Users who would follow themselves, which is left out: they get what is about themselves
    /// anyway.
    pub(super) selves: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes of so many are read.
    Read(u64, u64),
    /// So many edges of so many are written, in both directions.
    Written(u64, u64),
}

/// Makes the store of the folder `into` of the edges in `file`. `progress` hears how far it is.
pub(super) fn load(
    file: &Path,
    into: &Path,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Loaded> {
    load_in_runs(file, into, RUN_EDGES, progress)
}

/// The same, with a number of edges that are sorted at a time.
fn load_in_runs(
    file: &Path,
    into: &Path,
    run_edges: usize,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Loaded> {
    let is_taken = into.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    anyhow::ensure!(
        !is_taken,
        "{} is there already and not empty; remove it, or load into another folder",
        into.display()
    );
    let name = into.file_name().with_context(|| format!("{} names no folder", into.display()))?;
    let beside = match into.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = name.to_owned();
    prefix.push(".loading-");
    // Removed with all that is in it if anything fails.
    let folder = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(beside)
        .with_context(|| format!("cannot make a folder in {}", beside.display()))?;

    let mut sorter = Sorter::new(folder.path(), run_edges);
    let mut loaded = Loaded::default();
    read(file, &mut sorter, &mut loaded, progress)
        .with_context(|| format!("{} was not loaded", file.display()))?;
    sorter.end_run()?;
    let made = folder.path().join("made");
    std::fs::create_dir(&made)?;
    write(&made.join(FILE), &sorter, &mut loaded, progress)
        .with_context(|| format!("cannot make the store in {}", made.display()))?;
    // The name is as durable as what it names.
    std::fs::rename(&made, into)
        .with_context(|| format!("cannot rename {} to {}", made.display(), into.display()))?;
    File::open(beside)?.sync_all()?;
    Ok(loaded)
}

/// Reads a list into runs.
fn read(
    file: &Path,
    sorter: &mut Sorter<'_>,
    loaded: &mut Loaded,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<()> {
    let opened = File::open(file)?;
    let n_bytes = opened.metadata()?.len();
    let mut lines = Lines { from: BufReader::with_capacity(READ_BYTES, opened), cut: Vec::new() };
    let (mut number, mut n_read) = (0_u64, 0_u64);
    loop {
        number += 1;
        let named = lines.next(|line, n_taken| {
            n_read += n_taken as u64;
            edge(line)
        });
        let line = named.with_context(|| format!("{}:{number}", file.display()))?;
        let Some(line) = line else { break };
        let edge = line.map_err(|why| anyhow::anyhow!("{}:{number}: {why}", file.display()))?;
        if number.is_multiple_of(PROGRESS_LINES) {
            progress(Progress::Read(n_read, n_bytes));
        }
        let Some((follower, friend)) = edge else { continue };
        loaded.lines += 1;
        if follower == friend {
            loaded.selves += 1;
        } else {
            sorter.add((follower, friend))?;
        }
    }
    progress(Progress::Read(n_read, n_bytes));
    Ok(())
}

/// The lines of a list, where they stand.
struct Lines<R> {
    /// The list.
    from: BufReader<R>,
    /// A line that the end of the buffer cut.
    cut: Vec<u8>,
}

impl<R: io::Read> Lines<R> {
    /// Shows the next line, without its end, and how many bytes it takes with that. `None` at the
    /// end.
    fn next<T>(&mut self, show: impl FnOnce(&[u8], usize) -> T) -> io::Result<Option<T>> {
        let too_long = || io::Error::other(format!("a line of more than {MAX_LINE_BYTES} bytes"));
        self.cut.clear();
        loop {
            let bytes = self.from.fill_buf()?;
            if bytes.is_empty() {
                let n = self.cut.len();
                return Ok((n > 0).then(|| show(&self.cut, n)));
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                let n = bytes.len();
                if self.cut.len() + n > MAX_LINE_BYTES {
                    return Err(too_long());
                }
                self.cut.extend_from_slice(bytes);
                self.from.consume(n);
                continue;
            };
            if self.cut.len() + end > MAX_LINE_BYTES {
                return Err(too_long());
            }
            let shown = if self.cut.is_empty() {
                show(&bytes[..end], end + 1)
            } else {
                self.cut.extend_from_slice(&bytes[..end]);
                show(&self.cut, self.cut.len() + 1)
            };
            self.from.consume(end + 1);
            return Ok(Some(shown));
        }
    }
}

/// The edge that a line names, if it names one, or what is wrong with it.
fn edge(line: &[u8]) -> Result<Option<Pair>, String> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(follower), Some(friend), None) = (words.next(), words.next(), words.next()) else {
        return Err("not two ids: write \"A B\" where A follows B".to_owned());
    };
    Ok(Some((id(follower)?, id(friend)?)))
}

/// An id in decimal digits.
fn id(word: &[u8]) -> Result<Id, String> {
    // Almost all are short, and cannot overflow.
    if word.len() < 19 && word.iter().all(u8::is_ascii_digit) {
        let id = word.iter().fold(0, |id, byte| id * 10 + Id::from(byte - b'0'));
        return check_id(id);
    }
    let text = std::str::from_utf8(word).map_err(|_| "an id that is not UTF-8".to_owned())?;
    parse_id(text)
}

/// Sorts edges in runs, and keeps these in files of a folder.
struct Sorter<'folder> {
    /// The folder.
    folder: &'folder Path,
    /// The run that is being read.
    run: Vec<Pair>,
    /// Edges in a run.
    run_edges: usize,
    /// How many runs there are.
    n_runs: usize,
    /// Edges in the runs, in either direction.
    n_edges: u64,
    /// Edges that a run had more than once.
    n_repeated: u64,
}

impl<'folder> Sorter<'folder> {
    /// Nothing so far.
    fn new(folder: &'folder Path, run_edges: usize) -> Self {
        Self { folder, run: Vec::new(), run_edges, n_runs: 0, n_edges: 0, n_repeated: 0 }
    }

    /// Adds an edge.
    fn add(&mut self, edge: Pair) -> anyhow::Result<()> {
        self.run.push(edge);
        if self.run.len() == self.run_edges { self.end_run() } else { Ok(()) }
    }

    /// Sorts what there is, and writes it down in both directions.
    fn end_run(&mut self) -> anyhow::Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(
            self.n_runs < MAX_RUNS,
            "more than {} edges in one list",
            MAX_RUNS * self.run_edges
        );
        let n_read = self.run.len();
        for direction in Direction::ALL {
            self.run.sort_unstable();
            self.run.dedup();
            self.write_run(direction)?;
            for edge in &mut self.run {
                *edge = (edge.1, edge.0);
            }
        }
        self.n_repeated += (n_read - self.run.len()) as u64;
        self.n_edges += self.run.len() as u64;
        self.run.clear();
        self.n_runs += 1;
        Ok(())
    }

    /// Writes the run down.
    fn write_run(&self, direction: Direction) -> io::Result<()> {
        let file = File::create_new(self.file(direction, self.n_runs))?;
        let mut file = BufWriter::with_capacity(RUN_BUFFER_BYTES, file);
        let mut bytes = Vec::new();
        let mut last = 0;
        for &(user, neighbour) in &self.run {
            bytes.clear();
            put_number(user - last, &mut bytes);
            put_number(neighbour, &mut bytes);
            file.write_all(&bytes)?;
            last = user;
        }
        file.into_inner()?;
        Ok(())
    }

    /// The file of a run.
    fn file(&self, direction: Direction, number: usize) -> PathBuf {
        self.folder.join(format!("{direction:?}-{number}"))
    }

    /// Shows all edges of a direction in their order, each once. Returns how many they are.
    fn merge<E: From<StoreError>>(
        &self,
        direction: Direction,
        show: &mut dyn FnMut(Pair) -> Result<(), E>,
    ) -> Result<u64, E> {
        let failed = |error: io::Error| StoreError::Unusable(format!("a sorted run: {error}"));
        let mut runs = Vec::new();
        let mut heads = BinaryHeap::new();
        for number in 0..self.n_runs {
            let file = File::open(self.file(direction, number)).map_err(failed)?;
            let mut run = Run { file: BufReader::with_capacity(RUN_BUFFER_BYTES, file), user: 0 };
            if let Some(first) = run.next().map_err(failed)? {
                heads.push(Reverse((first, number)));
            }
            runs.push(run);
        }
        let (mut n, mut last) = (0, None);
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((edge, number)) = *head;
            if last != Some(edge) {
                show(edge)?;
                (n, last) = (n + 1, Some(edge));
            }
            match runs[number].next().map_err(failed)? {
                Some(next) => *head = Reverse((next, number)),
                None => _ = std::collections::binary_heap::PeekMut::pop(head),
            }
        }
        Ok(n)
    }
}

/// A sorted run that is read.
struct Run {
    /// Its file.
    file: BufReader<File>,
    /// The user of the last edge.
    user: Id,
}

impl Run {
    /// The next edge.
    fn next(&mut self) -> io::Result<Option<Pair>> {
        let damaged = |error: Damaged| io::Error::other(error);
        let bytes = self.file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() < 2 * MAX_NUMBER_BYTES {
            // The buffer may end in a number.
            self.user += self.number()?;
            return Ok(Some((self.user, self.number()?)));
        }
        let mut rest = bytes;
        self.user += take_number(&mut rest).map_err(damaged)?;
        let neighbour = take_number(&mut rest).map_err(damaged)?;
        let n_taken = bytes.len() - rest.len();
        self.file.consume(n_taken);
        Ok(Some((self.user, neighbour)))
    }

    /// The next number, byte by byte.
    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = Vec::with_capacity(MAX_NUMBER_BYTES);
        loop {
            let byte = *self.file.fill_buf()?.first().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.file.consume(1);
            bytes.push(byte);
            if byte & 0x80 == 0 || bytes.len() == MAX_NUMBER_BYTES {
                return take_number(&mut &bytes[..]).map_err(io::Error::other);
            }
        }
    }
}

/// Writes the store.
fn write(
    file: &PathBuf,
    sorter: &Sorter<'_>,
    loaded: &mut Loaded,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), StoreError> {
    let database = store::create(file, CACHE_BYTES)?;
    let (mut n_written, n_all) = (0_u64, sorter.n_edges * 2);
    let mut edges = 0;
    store::fill::<StoreError>(&database, |direction, push| {
        edges = sorter.merge(direction, &mut |edge| {
            n_written += 1;
            if n_written.is_multiple_of(PROGRESS_LINES) {
                progress(Progress::Written(n_written, n_all));
            }
            push(edge)
        })?;
        Ok(())
    })?;
    progress(Progress::Written(n_all, n_all));
    loaded.edges = edges;
    loaded.repeated = sorter.n_repeated + (sorter.n_edges - edges);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::friends::store::Store;

    /// What a list is loaded as, in runs of three edges, and the pairs of both directions.
    fn loaded(text: &str) -> anyhow::Result<(Loaded, [Vec<Pair>; 2])> {
        let folder = tempfile::tempdir()?;
        let (file, into) = (folder.path().join("edges"), folder.path().join("store"));
        std::fs::write(&file, text)?;
        let mut heard = Vec::new();
        let loaded = load_in_runs(&file, &into, 3, &mut |progress| heard.push(progress));
        let names = folder.path().read_dir()?.map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name != "edges" && name != "store").collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(into.exists(), loaded.is_ok(), "all or nothing");
        let loaded = loaded?;
        assert!(heard.contains(&Progress::Read(text.len() as u64, text.len() as u64)));
        let store = store::open_existing(&into, 1 << 20)?;
        let pairs = |direction| {
            let mut pairs = Vec::new();
            let keep = |pair| {
                pairs.push(pair);
                Ok::<_, StoreError>(())
            };
            Store::for_each(&store, direction, keep).map(|()| pairs)
        };
        Ok((loaded, [pairs(Direction::Follows)?, pairs(Direction::Followers)?]))
    }

    #[test]
    fn a_list_is_loaded_in_both_directions_whatever_its_order() {
        let text = "# A follows B\n5 1\n1 2\r\n\n2 1\n1 2\n 9\t9 \n1 3\n9223372036854775807 1\n1 2";
        let (loaded, [follows, followers]) = loaded(text).unwrap();
        assert_eq!(loaded, Loaded { lines: 8, edges: 5, repeated: 2, selves: 1 });
        let last = (1 << 63) - 1;
        assert_eq!(follows, [(1, 2), (1, 3), (2, 1), (5, 1), (last, 1)]);
        assert_eq!(followers, [(1, 2), (1, 5), (1, last), (2, 1), (3, 1)]);
    }

    #[test]
    fn a_list_of_nothing_is_a_store_of_nobody() {
        assert_eq!(loaded("").unwrap(), (Loaded::default(), [vec![], vec![]]));
    }

    #[test]
    fn a_bad_line_is_named_and_leaves_nothing() {
        let long = format!("1 2\n{} 3", "1".repeat(300));
        for (text, why) in [
            ("1 2\n3\n", ":2: not two ids"),
            ("1 2 3\n", ":1: not two ids"),
            ("1 2\n\n0 4\n", ":3: "),
            ("1 x\n", ":1: "),
            ("1 -2\n", ":1: "),
            ("9223372036854775808 1\n", ":1: "),
            ("1 99999999999999999999\n", ":1: "),
            (&long, ":2: a line of more than 256 bytes"),
        ] {
            let error = format!("{:#}", loaded(text).unwrap_err());
            assert!(error.contains(&format!("edges{why}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_there_already_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("edges"), "1 2\n").unwrap();
        let file = folder.path().join("edges");
        let error = load(&file, folder.path(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert!(load(&folder.path().join("none"), &folder.path().join("s"), &mut |_| {}).is_err());
    }

    #[test]
    fn runs_are_read_as_they_were_written_at_every_end_of_a_buffer() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), 70_000);
        let edges = (1..200_000_u64).map(|n| (n * 7_919 % 1_000_003, n * n));
        edges.clone().for_each(|edge| sorter.add(edge).unwrap());
        sorter.end_run().unwrap();
        let mut merged = Vec::new();
        let n = sorter.merge::<StoreError>(Direction::Follows, &mut |edge| {
            merged.push(edge);
            Ok(())
        });
        let mut edges: Vec<_> = edges.collect();
        edges.sort_unstable();
        assert_eq!(merged, edges);
        assert_eq!(n.unwrap(), edges.len() as u64);
    }
}
