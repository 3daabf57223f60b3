//! How messages are known and judged: what the flags about them say.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::items::{Sequence, Stream};
use crate::judge::{DEFAULT_MAX_WINDOWS, JudgeBy, NumbersAre};

/// How long after the sender's last answer a message may come, if nothing else is said. A server
/// that needs longer has kept its clients waiting as long.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(2);

/// Where comet-server's URLs have their ids.
pub const DEFAULT_ID_IN_URL: &str = "/test/([0-9,]+)";

/// How messages are known and judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accounting {
    /// What items are.
    pub stream: Stream,
    /// Where the server's numbers are, if it is not comet-server, which says where its are.
    pub sequence: Option<Sequence>,
    /// What the numbers count.
    pub numbers: Option<NumbersAre>,
    /// What messages are judged by, if not by what is found.
    pub judge: Option<JudgeBy>,
    /// The files in which senders say what they sent.
    pub sent: Vec<PathBuf>,
    /// The edge list that says whom users follow, if messages go to followers.
    pub follows: Option<PathBuf>,
    /// How long after the sender's last answer a message may come.
    pub settle: Duration,
    /// Where a URL says which ids its connection follows.
    pub id_in_url: IdInUrl,
    /// How many windows there may be in a process beyond the first of each connection.
    pub max_windows: u64,
}

impl Default for Accounting {
    fn default() -> Self {
        Self {
            stream: Stream::Auto,
            sequence: None,
            numbers: None,
            judge: None,
            sent: Vec::new(),
            follows: None,
            settle: DEFAULT_SETTLE,
            id_in_url: IdInUrl::default(),
            max_windows: DEFAULT_MAX_WINDOWS,
        }
    }
}

impl Accounting {
    /// Whether the server's numbers are the ids of its events, as the user says.
    pub(crate) fn numbers_are_ids(&self) -> bool {
        matches!(self.sequence, Some(Sequence::EventId))
    }

    /// Whether the user asked for messages to be judged, so that a run in which they could not be
    /// has fallen short.
    pub fn is_asked_for(&self) -> bool {
        self.sequence.is_some() || self.judge.is_some() || !self.sent.is_empty()
    }
}

/// Where a URL says which ids its connection follows: the value of `--id-in-url`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct IdInUrl(Regex);

/// Why a text is no [`IdInUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdInUrlError {
    /// It is no regular expression.
    #[error("not a regular expression: {0}")]
    NotAPattern(String),
    /// It has no group, or several.
    #[error("it has {0} groups; put the id, or ids with commas between them, into one group")]
    Groups(usize),
}

impl Default for IdInUrl {
    fn default() -> Self {
        DEFAULT_ID_IN_URL.parse().expect("the pattern is a constant that is tested")
    }
}

impl FromStr for IdInUrl {
    type Err = IdInUrlError;

    fn from_str(text: &str) -> Result<Self, IdInUrlError> {
        let regex =
            Regex::new(text).map_err(|error| IdInUrlError::NotAPattern(error.to_string()))?;
        match regex.captures_len() - 1 {
            1 => Ok(Self(regex)),
            n => Err(IdInUrlError::Groups(n)),
        }
    }
}

impl TryFrom<String> for IdInUrl {
    type Error = IdInUrlError;

    fn try_from(text: String) -> Result<Self, IdInUrlError> {
        text.parse()
    }
}

impl From<IdInUrl> for String {
    fn from(id: IdInUrl) -> Self {
        id.0.as_str().to_owned()
    }
}

impl IdInUrl {
    /// The ids in `url`, each once; none if they are not numbers.
    pub fn of(&self, url: &str) -> Vec<u64> {
        let Some(group) = self.0.captures(url).and_then(|captures| captures.get(1)) else {
            return Vec::new();
        };
        let ids: Result<Vec<u64>, _> =
            group.as_str().split(',').filter(|id| !id.is_empty()).map(str::parse).collect();
        let mut ids = ids.unwrap_or_default();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_where_the_pattern_says() {
        let ours = IdInUrl::default();
        for (url, ids) in [
            ("http://a/test/17", &[17][..]),
            ("http://a/test/9,7,7?x=1", &[7, 9]),
            ("http://a/sub?id=17", &[]),
            ("http://a/test/99999999999999999999", &[]),
        ] {
            assert_eq!(ours.of(url), ids, "{url}");
        }
        let query: IdInUrl = "[?&]id=([0-9]+)".parse().unwrap();
        assert_eq!(query.of("http://a/sub?id=17"), [17]);
    }

    #[test]
    fn a_pattern_has_one_group() {
        assert_eq!("id=[0-9]+".parse::<IdInUrl>().unwrap_err(), IdInUrlError::Groups(0));
        assert!("(".parse::<IdInUrl>().unwrap_err().to_string().starts_with("not a regular"));
    }
}
