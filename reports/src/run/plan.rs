//! What was asked of a run.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{FORMAT, LAST_UNIX_S, RunError, checked, parse_toml, read_text, write_toml};

/// What was asked of a run: `plan.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The format of the folder: [`FORMAT`].
    pub format: u64,
    /// The experiment's name, as in `cargo rig c10k`.
    pub experiment: String,
    /// What the scenario calls itself. `None`: by its figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The version of the toolkit.
    pub toolkit: String,
    /// The commit that it was built from. `None`: not from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether files differed from that commit.
    pub is_modified: bool,
    /// The cargo profile of the programs, or `installed`: they were not built for the run.
    pub profile: String,
    /// When the first program was started, in seconds since the Unix epoch.
    pub started_unix_s: u64,
    /// Servers that the ids are spread over.
    #[serde(default = "one")]
    pub nodes: u64,
    /// What joins the servers. `None`: nothing, each is on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Connections to hold.
    pub connections: u64,
    /// What they are: `chunks`, `events` or `ws`. `None`: as their URLs and flags say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Connections opened a second; 0: as fast as they are answered.
    pub rate: u64,
    /// Messages sent a second, over all sources; 0: none are sent.
    pub messages_per_second: u64,
    /// Concurrent sources of messages.
    pub sources: u64,
    /// For how long messages are sent, or connections held if none are, in seconds.
    pub duration_s: f64,
    /// Threads of the server. `None`: its own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_threads: Option<u64>,
    /// What the ids of the messages follow from.
    pub seed: u64,
    /// From one report of floodtest and msggen to the next, in seconds.
    pub log_interval_s: f64,
    /// From one sample of the server's memory to the next, in seconds.
    pub memory_interval_s: f64,
    /// What the figures of the whole run must be, beside those of the tools, as in
    /// `server.rss_per_connection<=5000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
    /// The server.
    #[serde(default)]
    pub server: ServerPlan,
    /// The command lines: first the one that repeats everything, then those of the programs in
    /// the order in which they were started.
    #[serde(rename = "command", default)]
    pub commands: Vec<Command>,
}

/// The server of a run: what it is, and what can be known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerPlan {
    /// What it is called.
    pub name: String,
    /// Whether the run started it, so that how it ended is known.
    pub is_started: bool,
    /// Whether its processes were watched, on this machine or on `host`.
    pub is_watched: bool,
    /// Whether it was asked for its counts, as comet-server gives them.
    pub is_counted: bool,
    /// The machine that it runs on, if that is another one and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Runs had comet-server before there could be others.
impl Default for ServerPlan {
    fn default() -> Self {
        Self {
            name: COMET_SERVER.to_owned(),
            is_started: true,
            is_watched: true,
            is_counted: true,
            host: None,
        }
    }
}

/// The name of the server of this toolkit.
pub const COMET_SERVER: &str = "comet-server";

/// A command line of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program's name.
    pub program: String,
    /// The whole line, as it can be typed into a shell.
    pub line: String,
}

/// Runs had one server before there could be several.
fn one() -> u64 {
    1
}

/// Of a plan of any format only this is sure.
#[derive(Deserialize)]
struct Header {
    /// The format of the folder.
    format: u64,
}

impl Plan {
    /// Reads the plan of the run in `folder`.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(files::PLAN);
        let text = read_text(&path)?;
        // A later format may lack what this one demands: it is refused for what it is.
        let Header { format } = parse_toml(&text, &path)?;
        if format > FORMAT {
            return Err(RunError::Later { path, found: format });
        }
        let plan: Self = parse_toml(&text, &path)?;
        if plan.started_unix_s > LAST_UNIX_S {
            let why =
                format!("it began {} s after 1970, in no year of four digits", plan.started_unix_s);
            return Err(RunError::Damaged { path, line: 1, why });
        }
        // Any number is a seed.
        checked(Self { seed: 0, ..plan.clone() }, &path)?;
        Ok(plan)
    }

    /// Writes it into `folder`, with the format that is written here.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::PLAN), &Self { format: FORMAT, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A plan with every field.
    fn plan() -> Plan {
        Plan {
            format: FORMAT,
            experiment: "c10k".to_owned(),
            toolkit: "0.1.0".to_owned(),
            commit: Some("abc1234".to_owned()),
            profile: "release".to_owned(),
            nodes: 3,
            broker: Some("redis-server 7.0.15".to_owned()),
            connections: 10_000,
            duration_s: 120.0,
            server_threads: Some(1),
            log_interval_s: 1.0,
            memory_interval_s: 1.0,
            commands: vec![Command {
                program: "rig".to_owned(),
                line: "cargo rig c10k --minutes 2".to_owned(),
            }],
            ..Plan::default()
        }
    }

    #[test]
    fn a_plan_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        for plan in [plan(), Plan { commit: None, broker: None, server_threads: None, ..plan() }] {
            plan.write(folder.path()).unwrap();
            assert_eq!(Plan::read(folder.path()).unwrap(), plan);
        }
        let text = fs::read_to_string(folder.path().join(files::PLAN)).unwrap();
        assert!(text.starts_with("format = 1\n") && text.contains("[[command]]"), "{text}");
    }

    #[test]
    fn a_later_format_is_refused_with_its_cure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(files::PLAN), "format = 2\nnew = true\n").unwrap();
        let error = Plan::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("plan.toml is of format 2"), "{error}");
        assert!(error.ends_with("use the toolkit that wrote it, or a later one"), "{error}");
    }

    #[test]
    fn damage_is_named_by_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        plan().write(folder.path()).unwrap();
        let path = folder.path().join(files::PLAN);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("rate = 0", "rate = \"fast\"")).unwrap();
        let error = Plan::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("plan.toml:11: invalid type: string \"fast\""), "{error}");
        fs::write(&path, text.replace("sources = 0\n", "")).unwrap();
        let error = Plan::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("missing field `sources`"), "{error}");
    }
}
