//! A run folder in which numbers, or whole files, are other than any program wrote. The fuzzer of
//! `reports/fuzz` bends them by chance, the tests of this crate one by one.

use std::fs;
use std::path::{Path, PathBuf};

use reports::run::{Run, Summary, files};

/// The raw files of a run.
pub(crate) const FILES: [&str; 12] = [
    files::PLAN,
    files::HOST,
    files::EXITS,
    files::MEMORY,
    files::FLOODTEST,
    files::MSGGEN,
    files::FOOTPRINT,
    files::SERVER_STATS,
    files::DELIVERY_FROM_DUE,
    files::DELIVERY_FROM_SEND,
    files::SEND_FROM_DUE,
    files::LATENESS,
];

/// How the name of file number `file` ends.
pub(crate) fn ending(file: usize) -> &'static str {
    FILES[file].rsplit_once('.').unwrap().1
}

/// Numbers at which arithmetic ends, or is about to.
pub(crate) const EXTREMES: [&str; 6] =
    ["-1", "253402300799", "9007199254740992", "18446744073709551615", "1e300", "1e-320"];

/// A folder, and what its raw files hold when nothing is bent.
pub(crate) struct Bent {
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// The text of each file of [`FILES`].
    pub(crate) texts: Vec<Vec<u8>>,
}

impl Bent {
    /// The run in `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        let read = |name: &&str| fs::read(folder.join(name)).unwrap();
        Self { folder: folder.to_owned(), texts: FILES.iter().map(read).collect() }
    }

    /// The numbers in file number `file`: where each begins and ends.
    pub(crate) fn numbers(&self, file: usize) -> Vec<(usize, usize)> {
        let text = &self.texts[file];
        let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        let begins = (0..text.len()).filter(|at| is_digit(*at) && (*at == 0 || !is_digit(at - 1)));
        let end = |begin| (begin..text.len()).find(|at| !is_digit(*at)).unwrap_or(text.len());
        begins.map(|begin| (begin, end(begin))).collect()
    }

    /// Puts `number` in the place of another one of a file.
    pub(crate) fn bend(&self, file: usize, (begin, end): (usize, usize), number: &str) {
        let text = &self.texts[file];
        self.put(file, &[&text[..begin], number.as_bytes(), &text[end..]].concat());
    }

    /// Puts `bytes` in the place of a file.
    pub(crate) fn put(&self, file: usize, bytes: &[u8]) {
        fs::write(self.folder.join(FILES[file]), bytes).unwrap();
    }

    /// Makes a file what it was.
    pub(crate) fn mend(&self, file: usize) {
        self.put(file, &self.texts[file]);
    }

    /// Computes what follows from the files, without charts. An error is a sentence.
    pub(crate) fn summary(&self) -> Result<Summary, String> {
        let run = Run::load(&self.folder).map_err(|error| error.to_string())?;
        let summary = run.summary();
        assert!(!summary.to_string().is_empty());
        Ok(summary)
    }

    /// Bends what `bytes` say: the first one which file, the second one how; the rest is where, or
    /// the file itself.
    pub(crate) fn bend_by(&self, bytes: &[u8]) -> Option<usize> {
        let (&[file, how], rest) = bytes.split_first_chunk()?;
        let file = usize::from(file) % FILES.len();
        let numbers = self.numbers(file);
        match (how, rest) {
            (0..192, [low, high, ..]) if !numbers.is_empty() => {
                let at = usize::from(u16::from_le_bytes([*low, *high])) % numbers.len();
                let number = EXTREMES[usize::from(how) % EXTREMES.len()];
                self.bend(file, numbers[at], number);
            }
            _ => self.put(file, rest),
        }
        Some(file)
    }
}
