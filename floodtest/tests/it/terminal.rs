//! What a terminal shows while a run goes on.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{OUR_HEAD, Server, hold, messages, send};

/// What a run of some seconds draws on a terminal that does not say how wide it is, one connection
/// of it failed; its stdout goes elsewhere.
fn drawn(environment: &[(&str, &str)]) -> String {
    drawn_on(0, &[], environment)
}

/// The same on a terminal with so many columns, with these flags.
fn drawn_on(columns: u16, flags_of_run: &[&str], environment: &[(&str, &str)]) -> String {
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
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&stderr, size).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["--urls", urls.path(), "--rate", "max", "--hold", "2500ms"]);
    command.args(flags_of_run);
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

/// A terminal as far as the view uses one: what stands on it, line by line.
#[derive(Default)]
struct Screen {
    /// Its lines, from the top.
    lines: Vec<String>,
    /// The line of the cursor.
    row: usize,
    /// The column of the cursor.
    column: usize,
}

impl Screen {
    /// Draws what a program has written. Where `erased` is given it is called with what stands
    /// there just before anything is erased to the end of the screen.
    fn draw(&mut self, text: &str, mut erased: impl FnMut(&[String])) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if self.row >= self.lines.len() {
                self.lines.resize(self.row + 1, String::new());
            }
            let Some(sequence) = rest.strip_prefix("\x1b[") else {
                rest = &rest[first.len_utf8()..];
                match first {
                    '\n' => self.row += 1,
                    '\r' => self.column = 0,
                    other => {
                        let line = &mut self.lines[self.row];
                        let mut chars: Vec<char> = line.chars().collect();
                        chars.resize(chars.len().max(self.column + 1), ' ');
                        chars[self.column] = other;
                        *line = chars.into_iter().collect();
                        self.column += 1;
                    }
                }
                continue;
            };
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            let (number, which) = (&sequence[..end], &sequence[end..=end]);
            match which {
                "F" => {
                    self.row -= number.parse::<usize>().unwrap();
                    self.column = 0;
                }
                "K" => {
                    let kept = self.lines[self.row].chars().take(self.column).collect();
                    self.lines[self.row] = kept;
                }
                "J" => {
                    erased(&self.lines);
                    let kept = self.lines[self.row].chars().take(self.column).collect();
                    self.lines[self.row] = kept;
                    self.lines.truncate(self.row + 1);
                }
                "m" => {}
                other => panic!("the view uses {other}"),
            }
            rest = &sequence[end + 1..];
        }
    }
}

#[test]
fn a_view_is_drawn_in_place_and_is_gone_at_the_end() {
    for columns in [30, 80] {
        let text = drawn_on(columns, &["--gaps"], &[("NO_COLOR", "1")]);
        let (mut screen, mut seen) = (Screen::default(), Vec::new());
        screen.draw(&text, |lines| seen.push(lines.to_vec()));
        let last: Vec<_> = screen.lines.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(last, ["floodtest: 1 of 3 connections failed: 1 status 503"], "{text:?}");
        assert!(seen.len() >= 2, "it was drawn again: {text:?}");
        for lines in &seen {
            let shown = lines.iter().filter(|line| !line.is_empty());
            assert!(shown.clone().count() >= 3, "nothing is missing for a moment: {lines:?}");
            // A line as long as the terminal is wide would be wrapped.
            assert!(shown.clone().all(|line| line.chars().count() < columns.into()), "{lines:?}");
            let n_first = shown.filter(|line| line.contains(" s: 2 of 3 open")).count();
            assert_eq!(n_first, 1, "{lines:?}");
        }
        let has_first_item =
            seen.iter().flatten().any(|line| line.starts_with("first item (TTFT)"));
        assert!(has_first_item, "{seen:?}");
    }
}
