//! Where a redirect leads (RFC 3986, 5.2, for URLs of http and https, ws and wss).

use memchr::memchr;

use crate::url::Url;

/// Statuses that lead elsewhere by their `Location`.
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Whether the request after this redirect is a GET, whatever `method` it was before: what browsers
/// and curl do, and RFC 9110 allows.
pub(crate) fn becomes_get(status: u16, method: &str) -> bool {
    status == 303 || matches!(status, 301 | 302) && method == "POST"
}

/// The URL that `location` means in a response to the request for `base`, without a fragment.
/// `None` if it is none. A WebSocket stays one: servers name http URLs in its place, since they
/// know no other.
pub(crate) fn target(base: &Url<'_>, location: &[u8]) -> Option<String> {
    let end = memchr(b'#', location).unwrap_or(location.len());
    let location = str::from_utf8(&location[..end]).ok()?;
    let scheme = base.scheme();
    let has_scheme = |text: &str| {
        let name = text.split(['/', '?']).next().unwrap_or(text);
        name.contains(':')
    };
    let url = if has_scheme(location) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else {
        let path = base.path.split('?').next().unwrap_or_default();
        let path = match location.as_bytes() {
            [] => base.path.to_owned(),
            [b'/', ..] => without_dots(location),
            [b'?', ..] => format!("{path}{location}"),
            _ => {
                without_dots(&format!("{}/{location}", path.rsplit_once('/').map_or("", |it| it.0)))
            }
        };
        format!("{scheme}://{}{path}", base.authority)
    };
    let mut parsed = Url::parse(url.as_bytes()).ok()?;
    if base.is_ws && !parsed.is_ws {
        parsed.is_ws = true;
        return Some(parsed.to_string());
    }
    (base.is_ws == parsed.is_ws).then_some(url)
}

/// `path` without the parts `.` and `..`; a query stays as it is.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let is_last = rest.peek().is_none();
        match part {
            ".." | "." => {
                if part == ".." {
                    parts.pop();
                }
                // The folder itself: its path ends with a slash.
                if is_last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_understood_from_where_it_was_said() {
        let base = Url::parse(b"http://me:secret@h:81/a/b?q").unwrap();
        for (location, expected) in [
            ("https://x/y", Some("https://x/y")),
            ("HTTP://x", Some("HTTP://x")),
            ("//x:82/y", Some("http://x:82/y")),
            ("/y/../z?a=..", Some("http://h:81/z?a=..")),
            ("c", Some("http://h:81/a/c")),
            ("../c", Some("http://h:81/c")),
            ("../../../c/.", Some("http://h:81/c/")),
            ("./", Some("http://h:81/a/")),
            ("?x", Some("http://h:81/a/b?x")),
            ("", Some("http://h:81/a/b?q")),
            ("c#fragment", Some("http://h:81/a/c")),
            ("ftp://x/", None),
            ("ws://x/", None),
            ("javascript:alert(1)", None),
            ("/a b", None),
            ("//", None),
        ] {
            assert_eq!(target(&base, location.as_bytes()).as_deref(), expected, "{location}");
        }
        let base = Url::parse(b"ws://h:81/a/b").unwrap();
        for (location, expected) in [
            ("http://x/y", Some("ws://x/y")),
            ("https://x:1/y", Some("wss://x:1/y")),
            ("wss://x", Some("wss://x")),
            ("/y", Some("ws://h:81/y")),
            ("//x", Some("ws://x")),
        ] {
            assert_eq!(target(&base, location.as_bytes()).as_deref(), expected, "{location}");
        }
        let short = Url::parse(b"https://h").unwrap();
        assert_eq!(target(&short, b"c").as_deref(), Some("https://h/c"));
    }

    #[test]
    fn a_redirect_turns_a_post_into_a_get_where_browsers_do() {
        for (status, method, is_get) in
            [(301, "POST", true), (302, "PUT", false), (303, "PUT", true), (307, "POST", false)]
        {
            assert_eq!(becomes_get(status, method), is_get, "{status} {method}");
        }
    }
}
