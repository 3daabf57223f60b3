//! Which program a name was taken for.
//!
//! Anybody can give a program any name. Where a process was found by nothing else, it is said which
//! one that is, and warned of what the name does not promise.

use std::path::Path;

use crate::process::Identity;

/// What to say of the `process` that was found by `name`.
pub fn of(name: &str, process: Identity) -> Vec<String> {
    let own_user = rustix::process::geteuid().as_raw();
    said(name, process.pid, process.program().as_deref(), process.user(), own_user)
}

/// What to say of the process `pid` with this program, which belongs to `user`.
fn said(
    name: &str,
    pid: u32,
    program: Option<&Path>,
    user: Option<u32>,
    own_user: u32,
) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(user) = user.filter(|user| *user != own_user) {
        doubts.push(format!("belongs to user {user}, and not to user {own_user} as memlog does"));
    }
    let first = match program {
        Some(program) => {
            let path = program.to_string_lossy().replace(char::is_control, "?");
            if path.rsplit('/').next() != Some(name) {
                doubts.push(format!("is the program {path}"));
            }
            format!("{name} is process {pid}, {path}")
        }
        None => format!("{name} is process {pid}; this user may not see its program"),
    };
    let mut said = vec![first];
    if !doubts.is_empty() {
        let doubts = doubts.join(", and ");
        said.push(format!(
            "warning: process {pid} is called {name}, but {doubts}; if another one is meant, \
             choose it with --pid"
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_said_and_doubts_are_warned_of() {
        let said_of = |program: &str, user| {
            said("comet-server", 7, Some(Path::new(program)), Some(user), 1000)
        };
        let good = "/usr/bin/comet-server";
        assert_eq!(said_of(good, 1000), [format!("comet-server is process 7, {good}")]);
        let of_another = said_of(good, 1001);
        assert!(of_another[1].contains("but belongs to user 1001, and not to user 1000 as"));
        let other_file = said_of("/tmp/\u{1b}[2Jx", 1000);
        assert_eq!(other_file[0], "comet-server is process 7, /tmp/?[2Jx");
        assert!(other_file[1].contains("is called comet-server, but is the program /tmp/?[2Jx;"));
    }

    #[test]
    fn a_program_that_cannot_be_seen_is_said_so() {
        let said = said("comet-server", 7, None, Some(0), 1000);
        assert!(said[0].ends_with("this user may not see its program"), "{said:?}");
        assert!(said[1].contains("belongs to user 0"), "{said:?}");
    }
}
