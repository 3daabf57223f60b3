//! What a terminal shows while a run goes on.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::support::{OUR_HEAD, Server, hold, messages, send};

/// What a run of some seconds draws on a terminal, one connection of it failed; its stdout goes
/// elsewhere.
fn drawn(environment: &[(&str, &str)]) -> String {
    let server = Server::start(|k, stream| {
        send(stream, if k == 0 { "HTTP/1.1 503 Busy\r\n\r\n" } else { OUR_HEAD });
        send(stream, &messages(&[1]));
        hold(stream);
    });
    let urls = server.urls(3);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let stderr = ioctl_tiocgptpeer(&terminal, flags).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["--urls", urls.path(), "--rate", "max", "--hold", "2500ms"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(environment.iter().copied());
    command.stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn().unwrap();
    // The last end of the terminal's other side, so that reading ends with the child.
    drop(command);
    let mut text = Vec::new();
    // The end of a terminal is an error.
    let _ = File::from(terminal).read_to_end(&mut text);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    String::from_utf8(text).unwrap()
}

#[test]
fn a_terminal_shows_how_the_run_goes_and_why_connections_are_missing() {
    let text = drawn(&[]);
    assert!(text.contains(" s: 2 of 3 open, 3 begun"), "{text:?}");
    assert!(text.contains("\x1b[31mfailed: 1 status 503\x1b[0m"), "{text:?}");
    let (before, after) = text.rsplit_once("\x1b[J").unwrap();
    assert!(before.contains("2 of 3 open"), "{text:?}");
    assert_eq!(after.trim_end(), "floodtest: 1 of 3 connections failed: 1 status 503");
}

#[test]
fn colour_can_be_refused_and_a_dumb_terminal_is_not_drawn_on() {
    let text = drawn(&[("NO_COLOR", "1")]);
    assert!(text.contains("failed: 1 status 503") && !text.contains("\x1b[31m"), "{text:?}");
    let text = drawn(&[("TERM", "dumb")]);
    assert_eq!(text.trim_end(), "floodtest: 1 of 3 connections failed: 1 status 503");
}
