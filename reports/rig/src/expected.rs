//! How many messages were to come, by what the sender wrote down and by the URLs: computed by
//! neither floodtest nor the server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, ensure};
use regex::bytes::Regex;
use reports::books::FloodReport;
use reports::run::Expected;
use reports::sent::{Range, Sent};

/// Where a URL has its ids, unless a scenario says otherwise: floodtest's default.
const ID_IN_URL: &str = "/test/([0-9,]+)";

/// The most that a line of a URL file may have, in bytes; floodtest refuses longer ones.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// How many messages were to come: Σ over all ids (messages to it that were answered × connections
/// that follow it). `flood` is the last report before connections were closed.
pub(crate) fn expected(
    sent_file: &Path,
    url_file: &Path,
    id_in_url: Option<&str>,
    flood: &FloodReport,
) -> anyhow::Result<Expected> {
    // Who came late or left has not had all of it, and which messages those are is not written
    // down anywhere.
    if flood.closed + flood.failed + flood.waiting > 0 || flood.connected != flood.asked {
        return Ok(Expected::unknown("not all connections were open all the time"));
    }
    if flood.late_joiners > 0 {
        let why = "the heads of some connections came after the first message was due";
        return Ok(Expected::unknown(why));
    }
    let ids = Regex::new(id_in_url.unwrap_or(ID_IN_URL)).context("id-in-url")?;
    ensure!(ids.captures_len() == 2, "id-in-url needs one group, around the ids");
    let Some(followers) = followers(url_file, &ids, flood.asked)? else {
        return Ok(Expected::unknown("not every URL says which ids its connection follows"));
    };
    let sent = Sent::read(sent_file, |_| true)?;
    if sent.end.is_none() {
        return Ok(Expected::unknown("the sender did not come to its end"));
    }
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

/// How many connections follow each id, of `n` connections to the URLs in the file, in turn; `None`
/// if a URL has no id.
fn followers(file: &Path, ids: &Regex, n: u64) -> anyhow::Result<Option<HashMap<u64, u64>>> {
    let mut followers = HashMap::new();
    let mut left = n;
    while left > 0 {
        let before = left;
        let cannot_read = || format!("cannot read {}", file.display());
        let mut lines = BufReader::new(File::open(file).with_context(cannot_read)?);
        let mut line = Vec::new();
        while left > 0 {
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
            left -= 1;
            let Some(found) = ids.captures(url).and_then(|found| found.get(1)) else {
                return Ok(None);
            };
            let mut of_line = Vec::new();
            for id in found.as_bytes().split(|byte| *byte == b',') {
                let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse::<u64>().ok())
                else {
                    return Ok(None);
                };
                // One connection that names an id twice hears its messages once.
                if !of_line.contains(&id) {
                    of_line.push(id);
                    *followers.entry(id).or_insert(0) += 1;
                }
            }
        }
        ensure!(left < before, "there is no URL in {}", file.display());
    }
    Ok(Some(followers))
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
        let folder = tempfile::tempdir().unwrap();
        let (sent, list) = (folder.path().join("sent"), folder.path().join("urls"));
        let lines = [
            "{\"sent\":1,\"sender\":\"89abcdef\",\"seed\":7,\"targets\":[],\
             \"first_due_unix_us\":5}",
            "{\"id\":7,\"n\":12,\"failed\":[[3,3],[7,9]],\"unanswered\":[[12,12]]}",
            "{\"id\":8,\"n\":4}",
            "{\"end\":true,\"last_answer_unix_us\":9,\"ids\":2,\"messages\":16,\"answered\":11,\
             \"failed\":4,\"unanswered\":1}",
            "",
        ];
        std::fs::write(&sent, lines.join("\n")).unwrap();
        std::fs::write(&list, urls).unwrap();
        expected(&sent, &list, None, flood).unwrap()
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
