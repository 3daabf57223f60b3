//! What is done to the server while the run goes on: `[[faults]]`.

use std::time::Duration;

use reports::run::FaultKind;
use reports::units;
use toml::{Table, Value};

/// The most that may be done in one run: each kill is a start of the server, and a line of a table.
const MOST_FAULTS: usize = 1_000;

/// How long a server is away, or stands still, unless the scenario says otherwise.
const BACK_AFTER: Duration = Duration::from_secs(5);

/// The keys of one of them.
const KEYS: [&str; 3] = ["at", "do", "back-after"];

/// Something that is done to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// When, after the first connection was due: on the clock of floodtest's storms.
    pub(crate) at: Duration,
    /// What.
    pub(crate) what: FaultKind,
    /// How long after that it is started again, or continued.
    pub(crate) back_after: Duration,
}

/// What `faults` of a file asks for.
pub(super) fn faults(value: &Value) -> Result<Vec<Fault>, String> {
    let Value::Array(values) = value else {
        return Err("write [[faults]] above each of them".to_owned());
    };
    if values.len() > MOST_FAULTS {
        return Err(format!("there are {}, and {MOST_FAULTS} at most may be", values.len()));
    }
    let mut faults: Vec<Fault> = Vec::new();
    for (at, value) in (1..).zip(values) {
        let fault = fault(value).map_err(|why| format!("number {at}: {why}"))?;
        if let Some(last) = faults.last()
            && fault.at < last.at.saturating_add(last.back_after)
        {
            return Err(format!("number {at} begins before the one above it is over"));
        }
        faults.push(fault);
    }
    Ok(faults)
}

/// One of them.
fn fault(value: &Value) -> Result<Fault, String> {
    let Value::Table(keys) = value else {
        return Err("write [[faults]] above its keys".to_owned());
    };
    if let Some(key) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("it has no key {key}; there are {}", KEYS.join(", ")));
    }
    let what = match keys.get("do").and_then(Value::as_str) {
        Some("kill") => FaultKind::Kill,
        Some("stop") => FaultKind::Stop,
        _ => {
            let why = "do is \"kill\" (and it is started again) or \"stop\" (and it is continued)";
            return Err(why.to_owned());
        }
    };
    let at = time(keys, "at")?.ok_or("it has no at: when, such as at = \"60s\"")?;
    let back_after = time(keys, "back-after")?.unwrap_or(BACK_AFTER);
    Ok(Fault { at, what, back_after })
}

/// The time that a key has.
fn time(keys: &Table, key: &str) -> Result<Option<Duration>, String> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| format!("{key}: write a time in quotes: \"5s\""))?;
    units::parse_duration(text).map(Some).map_err(|error| format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file with this text asks for.
    fn of(text: &str) -> Result<Vec<Fault>, String> {
        let table: Table = toml::from_str(text).unwrap();
        faults(&table["faults"])
    }

    #[test]
    fn faults_are_read_in_their_order() {
        let text = "[[faults]]\nat = \"1m\"\ndo = \"kill\"\n\
                    [[faults]]\nat = \"90s\"\ndo = \"stop\"\nback-after = \"500ms\"\n";
        let seconds = Duration::from_secs_f64;
        let kill = Fault { at: seconds(60.0), what: FaultKind::Kill, back_after: seconds(5.0) };
        let stop = Fault { at: seconds(90.0), what: FaultKind::Stop, back_after: seconds(0.5) };
        assert_eq!(of(text), Ok(vec![kill, stop]));
    }

    #[test]
    fn what_cannot_be_done_is_said_with_its_number() {
        let long = "[[faults]]\nat = \"60s\"\ndo = \"stop\"\nback-after = \"40s\"\n";
        let kill = "[[faults]]\nat = \"99s\"\ndo = \"kill\"\n";
        for (text, why) in [
            (&format!("{long}{kill}")[..], "number 2 begins before the one above it is over"),
            ("[[faults]]\ndo = \"kill\"\n", "number 1: it has no at"),
            ("[[faults]]\nat = \"1s\"\n", "number 1: do is \"kill\""),
            ("[[faults]]\nat = \"1\"\ndo = \"kill\"\n", "number 1: at: "),
            ("[[faults]]\nat = 1\ndo = \"kill\"\n", "number 1: at: write a time in quotes"),
            ("[[faults]]\nback_after = \"1s\"\n", "number 1: it has no key back_after"),
            ("faults = 3\n", "write [[faults]] above each of them"),
        ] {
            let found = of(text).unwrap_err();
            assert!(found.starts_with(why), "{text}: {found}");
        }
        assert!(of(&kill.repeat(1_001)).unwrap_err().starts_with("there are 1001"));
    }
}
