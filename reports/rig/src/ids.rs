//! Which ids connections follow, by the pattern that their URLs are made from.

/// Where a pattern has its ids, as a regular expression.
pub(crate) fn id_regex(pattern: &str) -> String {
    let at = pattern.find("{id}").unwrap_or(pattern.len());
    // As much of it as tells the place: from the last but one slash or sign on.
    let before = &pattern[..at];
    let from = before.trim_end_matches(['/', '=', '-', '_']).rfind(['/', '?', '&', '=']);
    format!("{}([0-9]+)", regex::escape(&before[from.unwrap_or(0)..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_finds_the_id_in_the_urls_of_the_pattern() {
        for pattern in ["http://h/sub/{id}", "http://h/a?user={id}&x=1", "http://h/s-{id}"] {
            let regex = regex::Regex::new(&id_regex(pattern)).unwrap();
            let url = pattern.replace("{id}", "42");
            assert_eq!(&regex.captures(&url).unwrap()[1], "42", "{regex}");
        }
    }
}
