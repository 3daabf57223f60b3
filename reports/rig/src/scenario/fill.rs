//! What stands for a value that is known only once the servers run: `{port}`, `{address}`, and what
//! a server says of itself.

use std::collections::BTreeMap;

use anyhow::bail;

/// Values by their names.
pub(crate) type Values = BTreeMap<String, String>;

/// Puts the values into `text`. What is in braces and no name of theirs stays as it is: it may be a
/// tool's, such as `{id}`.
pub(crate) fn fill(text: &str, values: &Values) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at(open);
        filled.push_str(before);
        let value = behind
            .find('}')
            .and_then(|end| values.get(&behind[1..end]).map(|value| (value, end + 1)));
        if let Some((value, end)) = value {
            filled.push_str(value);
            rest = &behind[end..];
        } else {
            filled.push('{');
            rest = &behind[1..];
        }
    }
    filled.push_str(rest);
    filled
}

/// Whether `{name}` stands in any of `texts`.
pub(crate) fn uses(texts: &[String], name: &str) -> bool {
    let name = format!("{{{name}}}");
    texts.iter().any(|text| text.contains(&name))
}

/// The value that a server says in `line`, where `pattern` is what it says with one `{name}` in it.
/// `None`: it is another line.
pub(crate) fn said<'a>(line: &'a str, pattern: &str) -> Option<(String, &'a str)> {
    let (before, rest) = pattern.split_once('{')?;
    let (name, behind) = rest.split_once('}')?;
    let value = line.trim_end().strip_prefix(before)?.strip_suffix(behind)?;
    Some((name.to_owned(), value))
}

/// Refuses a pattern that has not one `{name}` in it, or one whose name is taken.
pub(crate) fn check_pattern(pattern: &str, taken: &[&str]) -> anyhow::Result<()> {
    let name = pattern.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let Some((name, _)) = name else {
        bail!("\"{pattern}\" has no {{name}} for what the server says there");
    };
    if taken.contains(&name) {
        bail!("\"{pattern}\": {{{name}}} has a meaning already; choose another name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_filled_in_and_the_tools_own_stay() {
        let values = Values::from([("port".to_owned(), "80".to_owned())]);
        let filled = fill("http://h:{port}/sub/{id}?a={\"x\":{port}}", &values);
        assert_eq!(filled, "http://h:80/sub/{id}?a={\"x\":80}");
        assert_eq!(fill("{", &values), "{");
    }

    #[test]
    fn what_a_server_says_is_read_from_its_line() {
        let pattern = "listening on {urls}";
        let said_of = |line| said(line, pattern).map(|(name, value)| (name, value.to_owned()));
        assert_eq!(said_of("listening on http://h\n"), Some(("urls".into(), "http://h".into())));
        assert_eq!(said_of("hello"), None);
        assert!(check_pattern(pattern, &["port"]).is_ok());
        assert!(check_pattern("listening", &[]).is_err());
        assert!(check_pattern("on {port}", &["port"]).is_err());
    }
}
