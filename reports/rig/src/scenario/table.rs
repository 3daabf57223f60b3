//! A scenario file as it is written: sections of keys, each with the place that it came from, so
//! that whatever is wrong is told with file and line.

use std::fmt;
use std::time::Duration;

use anyhow::{anyhow, bail};
use reports::units;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Names that are less alike than this are not proposed: 1 is the same word.
const ALIKE: f64 = 0.7;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file.
    Line {
        /// Its name.
        file: String,
        /// The line, from 1 on.
        line: usize,
    },
    /// On the command line, as it was given.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A key with its value.
#[derive(Debug, Clone)]
struct Entry {
    /// The key.
    key: String,
    /// Where it stands.
    place: Place,
    /// What it has.
    value: Value,
}

/// A section: `[server]`. What was taken from it is no longer there, so that what is left in the
/// end is what nobody knows.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// Its name; empty for the keys above the first section.
    pub(crate) name: String,
    /// Where it begins.
    place: Place,
    /// Its keys.
    entries: Vec<Entry>,
}

/// A whole file.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    /// The keys above the first section.
    pub(crate) top: Section,
    /// The sections.
    sections: Vec<Section>,
    /// The file itself; `None` once something was overridden.
    text: Option<String>,
}

impl Sheet {
    /// Reads `text`, which is called `file` in messages.
    pub(crate) fn parse(text: &str, file: &str) -> anyhow::Result<Self> {
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let place = |at| Place::Line { file: file.to_owned(), line: line_of(at) };
        let parsed = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            anyhow!("{}: {}", place(at), error.message())
        })?;
        // The places are those of the first reading, the values of a second one, which has them in
        // types of its own.
        let mut values: Table =
            toml::from_str(text).map_err(|error| anyhow!("{file}: {}", error.message()))?;
        let top = Section { name: String::new(), place: place(0), entries: Vec::new() };
        let text = Some(text.to_owned());
        let mut sheet = Self { top, sections: Vec::new(), text };
        for (key, value) in parsed.get_ref() {
            let (name, at) = (key.get_ref().to_string(), place(key.span().start));
            let owned = values.remove(&name).expect("both readings have the same keys");
            match (value.get_ref(), owned) {
                (DeValue::Table(keys), Value::Table(owned)) => {
                    let entries = entries(keys, owned, &place);
                    sheet.sections.push(Section { name, place: at, entries });
                }
                (_, value) => sheet.top.entries.push(Entry { key: name, place: at, value }),
            }
        }
        Ok(sheet)
    }

    /// Overrides a value: `connections.count=500`. What is not TOML by itself is text.
    fn set(&mut self, text: &str, place: Place) -> anyhow::Result<()> {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            anyhow!("{place}: write section.key=value, such as connections.count=500")
        })?;
        let value = parse_value(value.trim());
        self.text = None;
        let (section, key) = match path.trim().split_once('.') {
            // Names of figures have dots in them.
            Some((section, key)) => (self.section_or_new(section, &place), unquoted(key)),
            None => (&mut self.top, path.trim()),
        };
        section.put(key, value, place);
        Ok(())
    }

    /// Overrides values as `--set` was given.
    pub(crate) fn set_all(&mut self, texts: &[String]) -> anyhow::Result<()> {
        texts.iter().try_for_each(|text| self.set(text, Place::Flag(format!("--set {text}"))))
    }

    /// Puts a value, whatever was there.
    pub(crate) fn put(&mut self, section: &str, key: &str, value: impl Into<Value>, place: &Place) {
        self.text = None;
        self.section_or_new(section, place).put(key, value.into(), place.clone());
    }

    /// Puts a value above the sections, whatever was there.
    pub(crate) fn top_put(&mut self, key: &str, value: Value, place: Place) {
        self.text = None;
        self.top.put(key, value, place);
    }

    /// Takes away a key above the sections.
    pub(crate) fn top_remove(&mut self, key: &str) {
        self.text = None;
        self.top.take(key);
    }

    /// Takes a key away.
    pub(crate) fn remove(&mut self, section: &str, key: &str) {
        self.text = None;
        let sections = self.sections.iter_mut().filter(|it| it.name == section);
        sections.for_each(|section| _ = section.take(key));
    }

    /// Takes a section out; `None` if there is none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Section> {
        let at = self.sections.iter().position(|section| section.name == name)?;
        Some(self.sections.remove(at))
    }

    /// Refuses sections that nobody knows.
    pub(crate) fn check_names(&self, known: &[&str]) -> anyhow::Result<()> {
        match self.sections.iter().find(|section| !known.contains(&section.name.as_str())) {
            None => Ok(()),
            Some(section) => bail!(
                "{}: there is no section [{}]{}",
                section.place,
                section.name,
                proposal(&section.name, known, |name| format!("[{name}]"))
            ),
        }
    }

    /// All of it as a file again: as it was, with its comments, if nothing was overridden.
    pub(crate) fn to_text(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let table = |section: &Section| -> Table {
            section.entries.iter().map(|it| (it.key.clone(), it.value.clone())).collect()
        };
        let mut all = table(&self.top);
        for section in &self.sections {
            all.insert(section.name.clone(), Value::Table(table(section)));
        }
        toml::to_string(&all).expect("what was read as TOML can be written as TOML")
    }

    /// A section, which is made if need be.
    fn section_or_new(&mut self, name: &str, place: &Place) -> &mut Section {
        let at = self.sections.iter().position(|section| section.name == name);
        let at = at.unwrap_or_else(|| {
            let (name, place) = (name.to_owned(), place.clone());
            self.sections.push(Section { name, place, entries: Vec::new() });
            self.sections.len() - 1
        });
        &mut self.sections[at]
    }
}

/// The keys of a section with their places.
fn entries(keys: &DeTable<'_>, mut owned: Table, place: &dyn Fn(usize) -> Place) -> Vec<Entry> {
    let entry = |(key, _): (&Spanned<_>, _)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        let name = key.get_ref().to_string();
        let value = owned.remove(&name).expect("both readings have the same keys");
        Entry { key: name, place: place(key.span().start), value }
    };
    keys.iter().map(entry).collect()
}

/// A value as it stands behind `=`; text where it is none that TOML knows.
fn parse_value(text: &str) -> Value {
    let table = toml::from_str::<Table>(&format!("value = {text}")).ok();
    let value = table.and_then(|mut table| (table.len() == 1).then(|| table.remove("value")));
    value.flatten().unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A key without the quotes around it.
fn unquoted(key: &str) -> &str {
    key.trim().trim_matches('"')
}

/// The known name that is most like `name`, as the end of a sentence; all of them where none is.
fn proposal(name: &str, known: &[&str], show: impl Fn(&str) -> String) -> String {
    let likeness = |known: &&&str| strsim::jaro_winkler(name, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    if let Some(nearest) = nearest.filter(|nearest| likeness(nearest) >= ALIKE) {
        return format!("; did you mean {}?", show(nearest));
    }
    let all = known.iter().map(|name| show(name)).collect::<Vec<_>>().join(", ");
    format!("; there are {all}")
}

impl Section {
    /// A section that is not there.
    pub(crate) fn absent(name: &str) -> Self {
        let place = Place::Flag(format!("[{name}]"));
        Self { name: name.to_owned(), place, entries: Vec::new() }
    }

    /// An error about the whole section.
    pub(crate) fn error(&self, what: impl fmt::Display) -> anyhow::Error {
        anyhow!("{}: {what}", self.place)
    }

    /// Whether there is such a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Puts a value, whatever was there.
    fn put(&mut self, key: &str, value: Value, place: Place) {
        self.entries.retain(|entry| entry.key != key);
        self.entries.push(Entry { key: key.to_owned(), place, value });
    }

    /// Takes out a key.
    fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes out a key and reads it by `read`, which says what it must be.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> anyhow::Result<Option<T>> {
        let Some(Entry { place, value, .. }) = self.take(key) else { return Ok(None) };
        read(&value).map(Some).map_err(|why| anyhow!("{place}: {key}: {why}"))
    }

    /// Text.
    pub(crate) fn text(&mut self, key: &str) -> anyhow::Result<Option<String>> {
        self.read(key, text)
    }

    /// A text or a list of them.
    pub(crate) fn texts(&mut self, key: &str) -> anyhow::Result<Vec<String>> {
        let read = |value: &Value| match value {
            Value::Array(values) => values.iter().map(text).collect(),
            value => text(value).map(|text| vec![text]),
        };
        Ok(self.read(key, read)?.unwrap_or_default())
    }

    /// A count above 0: a number, or text such as `"10k"`.
    pub(crate) fn count(&mut self, key: &str) -> anyhow::Result<Option<u64>> {
        self.read(key, count)
    }

    /// A time: text such as `"2m"`.
    pub(crate) fn duration(&mut self, key: &str) -> anyhow::Result<Option<Duration>> {
        self.read(key, |value| match value {
            Value::String(text) => {
                units::parse_duration(text).map_err(|error| error.to_string()).and_then(|time| {
                    if time.is_zero() { Err("it must be above 0".to_owned()) } else { Ok(time) }
                })
            }
            _ => Err("write a time in quotes, such as \"30s\" or \"2m\"".to_owned()),
        })
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &str) -> anyhow::Result<Option<bool>> {
        self.read(key, |value| value.as_bool().ok_or_else(|| "write true or false".to_owned()))
    }

    /// Takes all that is left as flags of `program`, whose long flags are `known`. Those in `given`
    /// are the rig's.
    pub(crate) fn flags(
        &mut self,
        program: &str,
        known: &[&str],
        given: &[&str],
        own: &[&str],
    ) -> anyhow::Result<Vec<String>> {
        let mut flags = Vec::new();
        for Entry { key, place, value } in std::mem::take(&mut self.entries) {
            if given.contains(&key.as_str()) {
                bail!("{place}: the rig itself gives {program} its --{key}");
            }
            if !known.contains(&key.as_str()) {
                let all: Vec<&str> = own.iter().chain(known).copied().collect();
                bail!(
                    "{place}: [{}] has no key {key}{}",
                    self.name,
                    proposal(&key, &all, str::to_owned)
                );
            }
            let values = match value {
                Value::Boolean(false) => continue,
                Value::Boolean(true) => {
                    flags.push(format!("--{key}"));
                    continue;
                }
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                let value = scalar(&value).map_err(|why| anyhow!("{place}: {key}: {why}"))?;
                // One word, so that a value that begins with a dash is none of the program's flags.
                flags.push(format!("--{key}={value}"));
            }
        }
        Ok(flags)
    }

    /// Takes all that is left as expectations: `lost = 0`, or `"x.p99" = "<50ms"`.
    pub(crate) fn expectations(&mut self) -> anyhow::Result<Vec<(String, Place)>> {
        let mut expectations = Vec::new();
        for Entry { key, place, value } in std::mem::take(&mut self.entries) {
            // `delivery_from_due.p99 = …` without quotes is a table in a table.
            if let Value::Table(inner) = value {
                for (rest, value) in inner {
                    let value = scalar(&value).map_err(|why| {
                        anyhow!("{place}: write \"{key}.{rest}\" in quotes: {why}")
                    })?;
                    expectations
                        .push((expectation(&format!("{key}.{rest}"), &value), place.clone()));
                }
                continue;
            }
            let value = scalar(&value).map_err(|why| anyhow!("{place}: {key}: {why}"))?;
            expectations.push((expectation(&key, &value), place));
        }
        Ok(expectations)
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self, known: &[&str]) -> anyhow::Result<()> {
        let Some(entry) = self.entries.first() else { return Ok(()) };
        let of = if self.name.is_empty() { "a scenario" } else { &format!("[{}]", self.name) };
        let (place, key) = (&entry.place, &entry.key);
        bail!("{place}: {of} has no key {key}{}", proposal(key, known, str::to_owned))
    }
}

/// An expectation as `--expect` takes it.
fn expectation(name: &str, value: &str) -> String {
    let compares = value.starts_with(['<', '>', '=', '!']);
    if compares { format!("{name}{value}") } else { format!("{name}={value}") }
}

/// A value that is text.
fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "write it in quotes".to_owned())
}

/// A count above 0.
pub(crate) fn count(value: &Value) -> Result<u64, String> {
    let count = match value {
        Value::Integer(n) => u64::try_from(*n).map_err(|_| "it must not be negative".to_owned()),
        Value::String(text) => units::parse_count(text).map_err(|error| error.to_string()),
        _ => Err("write a count, such as 500 or \"10k\"".to_owned()),
    };
    match count {
        Ok(0) => Err("it must be at least 1".to_owned()),
        count => count,
    }
}

/// A value as it stands on a command line.
fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(n) => Ok(n.to_string()),
        Value::Float(x) => Ok(x.to_string()),
        Value::Boolean(is) => Ok(is.to_string()),
        Value::Array(_) | Value::Table(_) | Value::Datetime(_) => {
            Err("write a number, a text or true".to_owned())
        }
    }
}
