//! Numbers in sentences.

use std::fmt::Write as _;

/// Ports in a sentence: `port 7`, or `ports 7 and 8`.
pub(crate) fn ports_listed(ports: impl Iterator<Item = u16>) -> String {
    let ports: Vec<u32> = ports.map(u32::from).collect();
    let what = if ports.len() == 1 { "port" } else { "ports" };
    format!("{what} {}", listed(&ports))
}

/// Numbers in a sentence: `7, 8 and 9`.
pub(crate) fn listed(numbers: &[u32]) -> String {
    let mut text = String::new();
    for (at, number) in numbers.iter().enumerate() {
        let separator = match at {
            0 => "",
            at if at + 1 == numbers.len() => " and ",
            _ => ", ",
        };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{number}");
    }
    text
}
