//! Why a host cannot hold connections: a sentence with the host, the cause, and what to do.

use std::process::ExitStatus;

use reports::remote::RemoteHost;

use super::super::wire::{Hello, PROTOCOL};

/// The exit status of ssh for all that goes wrong before a program runs on the host.
const SSH_FAILED: i32 = 255;

/// The exit status of a shell that does not find a program, and of one that may not run it.
const NOT_FOUND: i32 = 127;
const NOT_ALLOWED: i32 = 126;

/// How this program is copied there.
fn copy(host: &RemoteHost) -> String {
    host.copy("\"$(command -v floodtest)\"")
}

/// That ssh cannot be started.
pub(super) fn no_ssh(host: &RemoteHost, error: &std::io::Error) -> String {
    format!("{host}: cannot start ssh: {error}; install it (Debian: openssh-client)")
}

/// That the way to the host, or the program there, has ended before it said hello.
pub(super) fn ended(
    host: &RemoteHost,
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
             version: `ssh {} {program} --version` says which",
            host.typed()
        ),
        None => format!("{host}: ssh was ended: {last}; `ssh {} true` must work", host.typed()),
    }
}

/// What to do about what ssh complains about.
fn remedy(host: &RemoteHost, complaints: &[String]) -> String {
    let says = |words: &str| complaints.iter().any(|line| line.contains(words));
    let typed = host.typed();
    if says("Could not resolve hostname") {
        "correct its name in --hosts, or give it one in ~/.ssh/config".to_owned()
    } else if says("Host key verification failed") {
        format!("see that its key is the right one, and accept it once with `ssh {typed}`")
    } else if says("Permission denied") {
        format!(
            "nobody is asked for a password here: let a key of yours in with `ssh-copy-id \
             {typed}`, and unlock it with `ssh-add`"
        )
    } else if says("Connection refused") {
        "is an sshd running there, and is its port right?".to_owned()
    } else {
        format!("`ssh {typed} true` must work without a question")
    }
}

/// That the host said something else before hello.
pub(super) fn banner(host: &RemoteHost, line: &str) -> String {
    format!(
        "{host}: printed \"{line}\" before floodtest there said anything; let the start files of \
         its shell (~/.bashrc) print nothing where there is no terminal"
    )
}

/// That nothing came in time.
pub(super) fn silent(host: &RemoteHost, seconds: u64) -> String {
    format!("{host}: nothing came within {seconds} s; `ssh {} true` must work", host.typed())
}

/// That another version is there, if it is.
pub(super) fn other_version(host: &RemoteHost, hello: &Hello) -> Option<String> {
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
