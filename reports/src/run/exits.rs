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
    /// Its last words on stderr; empty when it succeeded.
    #[serde(default)]
    pub said: String,
}

impl Exit {
    /// In what respect the program fell short. `None`: it did what was asked.
    pub fn shortfall(&self) -> Option<String> {
        let how = match (self.code, self.signal) {
            (Some(0), _) => return None,
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "in an unknown way".to_owned(),
        };
        let said = if self.said.is_empty() { "it said nothing" } else { &self.said };
        // A program puts its name before what it says.
        let said = said.strip_prefix(&format!("{}: ", self.program)).unwrap_or(said);
        Some(format!("{} ended with {how}: {said}", self.program))
    }
}

impl Exits {
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
