//! Why a host cannot hold connections: a sentence with the host, the cause, and what to do.

use std::process::ExitStatus;

use super::super::wire::{Hello, PROTOCOL};
use crate::hosts::HostSpec;

/// The exit status of ssh for all that goes wrong before a program runs on the host.
const SSH_FAILED: i32 = 255;

/// The exit status of a shell that does not find a program, and of one that may not run it.
const NOT_FOUND: i32 = 127;
const NOT_ALLOWED: i32 = 126;

/// Where a shell that ssh starts finds a program, on most systems.
const COPY_TO: &str = "/usr/local/bin/";

/// How ssh is called by hand.
fn by_hand(host: &HostSpec) -> String {
    let port = host.port.map_or_else(String::new, |port| format!("-p {port} "));
    format!("ssh {port}{}", host.destination)
}

/// How this program is copied there.
fn copy(host: &HostSpec) -> String {
    let port = host.port.map_or_else(String::new, |port| format!("-P {port} "));
    // An address of IPv6 would end at its first colon.
    let place = match host.destination.rsplit_once('@') {
        Some((user, address)) if address.contains(':') => format!("{user}@[{address}]"),
        None if host.destination.contains(':') => format!("[{}]", host.destination),
        _ => host.destination.clone(),
    };
    format!("scp {port}\"$(command -v floodtest)\" {place}:{COPY_TO}")
}

/// That ssh cannot be started.
pub(super) fn no_ssh(host: &HostSpec, error: &std::io::Error) -> String {
    format!("{host}: cannot start ssh: {error}; install it (Debian: openssh-client)")
}

/// That the way to the host, or the program there, has ended before it said hello.
pub(super) fn ended(
    host: &HostSpec,
    program: &str,
    status: Option<ExitStatus>,
    complaints: &[String],
) -> String {
    let last = complaints.last().map_or("it says nothing", String::as_str);
    match status.and_then(|status| status.code()) {
        Some(SSH_FAILED) => format!("{host}: {last}; {}", remedy(host, complaints)),
        Some(NOT_FOUND | NOT_ALLOWED) => format!(
            "{host}: {program} cannot be started there: {last}; copy it, as with `{}`, or say \
             where it is with --floodtest-path",
            copy(host)
        ),
        Some(code) => format!(
            "{host}: {program} there ended with exit status {code}: {last}; it may be another \
             version: `{} {program} --version` says which",
            by_hand(host)
        ),
        None => format!("{host}: ssh was ended: {last}; `{} true` must work", by_hand(host)),
    }
}

/// What to do about what ssh complains about.
fn remedy(host: &HostSpec, complaints: &[String]) -> String {
    let says = |words: &str| complaints.iter().any(|line| line.contains(words));
    let by_hand = by_hand(host);
    if says("Could not resolve hostname") {
        "correct its name in --hosts, or give it one in ~/.ssh/config".to_owned()
    } else if says("Host key verification failed") {
        format!("see that its key is the right one, and accept it once with `{by_hand}`")
    } else if says("Permission denied") {
        let port = host.port.map_or_else(String::new, |port| format!("-p {port} "));
        format!(
            "nobody is asked for a password here: let a key of yours in with `ssh-copy-id \
             {port}{}`, and unlock it with `ssh-add`",
            host.destination
        )
    } else if says("Connection refused") {
        "is an sshd running there, and is its port right?".to_owned()
    } else {
        format!("`{by_hand} true` must work without a question")
    }
}

/// That the host said something else before hello.
pub(super) fn banner(host: &HostSpec, line: &str) -> String {
    format!(
        "{host}: printed \"{line}\" before floodtest there said anything; let the start files of \
         its shell (~/.bashrc) print nothing where there is no terminal"
    )
}

/// That nothing came in time.
pub(super) fn silent(host: &HostSpec, seconds: u64) -> String {
    format!("{host}: nothing came within {seconds} s; `{} true` must work", by_hand(host))
}

/// That another version is there, if it is.
pub(super) fn other_version(host: &HostSpec, hello: &Hello) -> Option<String> {
    let ours = about::version();
    if hello.version == ours && hello.protocol == PROTOCOL {
        return None;
    }
    Some(format!(
        "{host}: floodtest {} (protocol {}) is there, and {ours} (protocol {PROTOCOL}) here; copy \
         this one, as with `{}`",
        shown(&hello.version),
        hello.protocol,
        copy(host)
    ))
}

/// A text of the host as it can be shown on a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1_000).collect()
}
