//! How the programs of a run ended.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// How the programs of a run ended: `exits.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    /// One for each program.
    #[serde(rename = "exit", default)]
    pub exits: Vec<Exit>,
}

/// Whether a flag need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// How a program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The program's name.
    pub program: String,
    /// Its exit code. `None`: a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Its last words; empty when it succeeded.
    #[serde(default)]
    pub said: String,
    /// Whether it ended before it was told to.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_early: bool,
    /// Whether that is how it was to end: a server that is not ours was told to, and did.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_expected: bool,
}

impl Exit {
    /// Whether it is that of `program`. Several are told apart by a name behind that of the
    /// program.
    pub(super) fn is_of(&self, program: &str) -> bool {
        self.program
            .strip_prefix(program)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// In what respect the program fell short. `None`: it did what was asked.
    pub fn shortfall(&self) -> Option<String> {
        let how = match (self.code, self.signal) {
            _ if self.is_expected => return None,
            (Some(0), _) if !self.is_early => return None,
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "in an unknown way".to_owned(),
        };
        let said = if self.said.is_empty() { "it said nothing" } else { &self.said };
        // A program puts its name before what it says.
        let said = said.strip_prefix(&format!("{}: ", self.program)).unwrap_or(said);
        let ended = if self.is_early { "ended in the middle of the run" } else { "ended" };
        Some(format!("{} {ended} with {how}: {said}", self.program))
    }
}

impl Exits {
    /// Whether a program of this name, or one of several that have it, did not end as it should.
    pub(super) fn has_fallen(&self, program: &str) -> bool {
        let of_it = self.exits.iter().filter(|exit| exit.is_of(program));
        of_it.into_iter().any(|exit| exit.shortfall().is_some())
    }

    /// Reads how the programs of the run in `folder` ended.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        read_toml(&folder.join(files::EXITS))
    }

    /// Writes it into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::EXITS), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_read_back_and_say_who_fell_short() {
        let folder = tempfile::tempdir().unwrap();
        let exit = |program: &str, code, signal, said: &str| Exit {
            program: program.to_owned(),
            code,
            signal,
            said: said.to_owned(),
            ..Exit::default()
        };
        let exits = Exits {
            exits: vec![
                exit("floodtest", Some(1), None, "floodtest: 3 of 10000 are missing"),
                exit("msggen", Some(0), None, ""),
                exit("comet-server", None, Some(9), ""),
            ],
        };
        exits.write(folder.path()).unwrap();
        assert_eq!(Exits::read(folder.path()).unwrap(), exits);
        let shortfalls: Vec<_> = exits.exits.iter().filter_map(Exit::shortfall).collect();
        assert_eq!(
            shortfalls,
            [
                "floodtest ended with exit code 1: 3 of 10000 are missing",
                "comet-server ended with signal 9: it said nothing",
            ]
        );
    }
}
