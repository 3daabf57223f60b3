//! How many messages were to come, by what the sender wrote down and by the URLs: computed by
//! neither floodtest nor the server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, ensure};
use regex::bytes::Regex;
use reports::books::FloodReport;
use reports::edges;
use reports::run::Expected;
use reports::sent::{Range, Sent};

/// Where a URL has its ids, unless a scenario says otherwise: floodtest's default.
const ID_IN_URL: &str = "/test/([0-9,]+)";

/// The most that a line of a URL file may have, in bytes; floodtest refuses longer ones.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// The connections of a run, by their URLs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UrlIds<'a> {
    /// The file with the URLs.
    pub(crate) file: &'a Path,
    /// Where a URL has its ids; `None`: where floodtest looks by default.
    pub(crate) id_in_url: Option<&'a str>,
}

/// How many messages were to come: Σ over all ids (messages to it that were answered × connections
/// that follow it). If messages went to followers, these are the connections of the id itself and
/// of all who follow it by the list `friends`, each once. `flood` is the last report before
/// connections were closed.
pub(crate) fn expected(
    sent_file: &Path,
    urls: &UrlIds<'_>,
    friends: Option<&Path>,
    flood: &FloodReport,
) -> anyhow::Result<Expected> {
    // Who came late or left has not had all of it, and which messages those are is not written
    // down anywhere.
    if flood.closed + flood.failed + flood.waiting > 0 || flood.connected != flood.asked {
        return Ok(Expected::unknown("not all connections were open all the time"));
    }
    if flood.slow_readers.is_some() {
        return Ok(Expected::unknown("what came for slow readers is counted in bytes alone"));
    }
    if flood.late_joiners > 0 {
        let why = "the heads of some connections came after the first message was due";
        return Ok(Expected::unknown(why));
    }
    let ids = Regex::new(urls.id_in_url.unwrap_or(ID_IN_URL)).context("id-in-url")?;
    ensure!(ids.captures_len() == 2, "id-in-url needs one group, around the ids");
    let sent = Sent::read(sent_file, |_| true)?;
    if sent.end.is_none() {
        return Ok(Expected::unknown("the sender did not come to its end"));
    }
    let mut logins = Vec::new();
    if !read_logins(urls.file, &ids, flood.asked, &mut logins)? {
        return Ok(Expected::unknown("not every URL says which ids its connection follows"));
    }
    if sent.header.followers {
        let Some(friends) = friends else {
            let why = "messages went to followers, and there is no list of them";
            return Ok(Expected::unknown(why));
        };
        follow(friends, &mut logins)?;
    }
    let followers = counts(logins);
    let mut expected = Expected { messages: Some(0), ..Expected::default() };
    for line in sent.ids.values() {
        let followers = followers.get(&line.id).copied().unwrap_or_default();
        let unanswered = count(&line.unanswered);
        let answered = line.n.saturating_sub(count(&line.failed)).saturating_sub(unanswered);
        let messages = expected.messages.unwrap_or_default();
        expected.messages = Some(messages.saturating_add(answered.saturating_mul(followers)));
        expected.unanswered += unanswered.saturating_mul(followers);
    }
    Ok(expected)
}

/// That a connection is to hear what is sent to an id: the id, and the connection's number.
type Login = (u64, u32);

/// How many connections are to hear each id. One hears it once, for however many reasons.
fn counts(mut logins: Vec<Login>) -> HashMap<u64, u64> {
    logins.sort_unstable();
    logins.dedup();
    let mut counts = HashMap::new();
    for (id, _) in logins {
        *counts.entry(id).or_insert(0) += 1;
    }
    counts
}

/// Adds what connections are to hear because their ids follow others, by the list of who does.
fn follow(friends: &Path, logins: &mut Vec<Login>) -> anyhow::Result<()> {
    let mut connections = HashMap::<u64, Vec<u32>>::new();
    for (id, connection) in &*logins {
        connections.entry(*id).or_default().push(*connection);
    }
    edges::each(friends, |follower, other| {
        let of_follower = connections.get(&follower).map_or(&[][..], Vec::as_slice);
        logins.extend(of_follower.iter().map(|connection| (other, *connection)));
    })?;
    Ok(())
}

/// Adds which connection has which ids, of `n` connections to the URLs in the file, in turn.
/// Returns whether each URL has one.
fn read_logins(file: &Path, ids: &Regex, n: u64, logins: &mut Vec<Login>) -> anyhow::Result<bool> {
    let n = u32::try_from(n).context("more connections than can be counted")?;
    let mut next = 0;
    while next < n {
        let before = next;
        let cannot_read = || format!("cannot read {}", file.display());
        let mut lines = BufReader::new(File::open(file).with_context(cannot_read)?);
        let mut line = Vec::new();
        while next < n {
            line.clear();
            let mut part = std::io::Read::take(&mut lines, MAX_LINE_BYTES);
            if part.read_until(b'\n', &mut line).with_context(cannot_read)? == 0 {
                break;
            }
            // As floodtest reads them: comments, blank lines, and fields behind a tab.
            let url = line.split(|byte| *byte == b'\t').next().unwrap_or_default();
            let url = url.trim_ascii();
            let url = url.strip_prefix(b"\xef\xbb\xbf").unwrap_or(url);
            if url.is_empty() || url.starts_with(b"#") {
                continue;
            }
            let Some(found) = ids.captures(url).and_then(|found| found.get(1)) else {
                return Ok(false);
            };
            for id in found.as_bytes().split(|byte| *byte == b',') {
                let id = std::str::from_utf8(id).ok().and_then(|id| id.parse::<u64>().ok());
                let Some(id) = id else { return Ok(false) };
                logins.push((id, next));
            }
            next += 1;
        }
        ensure!(before < next, "there is no URL in {}", file.display());
    }
    Ok(true)
}

/// How many numbers are in ranges.
fn count(ranges: &[Range]) -> u64 {
    ranges.iter().fold(0, |sum, (from, to)| sum + (to - from + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected of connections to these URLs, where ids 7 and 8 were sent to.
    fn of(urls: &str, flood: &FloodReport) -> Expected {
        of_sent("", urls, None, flood)
    }

    /// The same with `more` in the header of the sender's file, and a list of who follows whom.
    fn of_sent(more: &str, urls: &str, friends: Option<&str>, flood: &FloodReport) -> Expected {
        let folder = tempfile::tempdir().unwrap();
        let (sent, list) = (folder.path().join("sent"), folder.path().join("urls"));
        let header = format!(
            "{{\"sent\":1,\"sender\":\"89abcdef\",\"seed\":7,\"targets\":[],\
             \"first_due_unix_us\":5{more}}}"
        );
        let lines = [
            header.as_str(),
            "{\"id\":7,\"n\":12,\"failed\":[[3,3],[7,9]],\"unanswered\":[[12,12]]}",
            "{\"id\":8,\"n\":4}",
            "{\"end\":true,\"last_answer_unix_us\":9,\"ids\":2,\"messages\":16,\"answered\":11,\
             \"failed\":4,\"unanswered\":1}",
            "",
        ];
        std::fs::write(&sent, lines.join("\n")).unwrap();
        std::fs::write(&list, urls).unwrap();
        let edges = folder.path().join("friends");
        let edges = friends.map(|friends| std::fs::write(&edges, friends).map(|()| edges).unwrap());
        let urls = UrlIds { file: &list, id_in_url: None };
        expected(&sent, &urls, edges.as_deref(), flood).unwrap()
    }

    #[test]
    fn what_is_about_a_user_is_to_come_once_on_each_connection_of_its_followers_and_its_own() {
        let flood = FloodReport { asked: 4, connected: 4, ..FloodReport::default() };
        let urls = "http://h/test/7\nhttp://h/test/9\nhttp://h/test/7,8\nhttp://h/test/5\n";
        // 7 follows 8, 9 follows both and one of them twice, 8 follows itself, and 4 is nobody
        // here.
        let friends = "7 8\n9 7\n9 8\n9 8\n8 8\n4 7\n5 4\n";
        let followers = ",\"followers\":true";
        let all = of_sent(followers, urls, Some(friends), &flood);
        // Seven messages about 7 and four about 8 were answered; each reaches all but the last.
        assert_eq!((all.messages, all.unanswered), (Some(7 * 3 + 4 * 3), 3));
        let to_ids = of_sent("", urls, Some(friends), &flood);
        assert_eq!(
            to_ids.messages,
            Some(7 * 2 + 4),
            "of messages to ids alone the list says nothing"
        );
        let unknown = of_sent(followers, urls, None, &flood);
        assert_eq!(unknown.messages, None);
        assert!(unknown.why.unwrap().contains("there is no list of them"));
    }

    #[test]
    fn each_answered_message_is_to_come_once_on_each_connection_that_follows_its_id() {
        let flood = |n| FloodReport { asked: n, connected: n, ..FloodReport::default() };
        let urls = "# two\nhttp://h/test/7\tx\r\n\nhttp://h/test/8,7,8\nhttp://h/test/9\n";
        let all = of(urls, &flood(3));
        assert_eq!((all.messages, all.unanswered, all.why), (Some(7 + 7 + 4), 2, None));
        // The file is gone through again.
        assert_eq!(of("http://h/test/8\n", &flood(5)).messages, Some(20));
        assert_eq!(of("http://h/test/8\nhttp://h/x\n", &flood(2)).messages, None);
        let closed = FloodReport { asked: 2, connected: 1, closed: 1, ..FloodReport::default() };
        assert!(of(urls, &closed).why.unwrap().starts_with("not all connections were open"));
    }
}
