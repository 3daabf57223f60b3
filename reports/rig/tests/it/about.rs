//! What every program says about itself, in the same way.

use std::path::Path;
use std::process::{Command, Output};

use crate::installed::{PROGRAMS, built};
use crate::rig::told;

/// The programs, with the one that runs them.
fn programs() -> impl Iterator<Item = &'static str> {
    PROGRAMS.into_iter().chain(["rig"])
}

/// What the program `name` says to these arguments, which it understands.
fn said(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    assert!(output.status.success(), "{name} {args:?}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(built(name)).args(args).output().unwrap()
}

#[test]
fn every_program_says_its_version_and_the_commit_it_is_of() {
    let version = env!("CARGO_PKG_VERSION");
    // As whoever builds has it in the environment; a checkout alone tells nothing.
    let commit = option_env!("COMET_COMMIT").filter(|it| !it.is_empty()).unwrap_or("unknown");
    for name in programs() {
        assert_eq!(said(name, &["-V"]), format!("{name} {version}\n"));
        assert_eq!(said(name, &["--version"]), format!("{name} {version} (commit {commit})\n"));
    }
}

#[test]
fn bash_takes_the_completions_of_every_program() {
    for name in programs() {
        let script = said(name, &["completions", "bash"]);
        // The shell is asked for the words after `NAME comp`, as it would ask when somebody types.
        let ask = format!(
            "{script}\nfunction=$(complete -p {name} | sed 's/.* -F \\([^ ]*\\).*/\\1/')\n\
             COMP_WORDS=({name} comp); COMP_CWORD=1; \"$function\" {name} comp {name}\n\
             echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["--norc", "--noprofile", "-c", &ask]).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(words.split_whitespace().any(|it| it == "completions"), "{}", told(&output));
    }
}

#[test]
fn zsh_and_fish_take_the_completions_of_every_program() {
    let folder = tempfile::tempdir().unwrap();
    for name in programs() {
        for (shell, file) in [("zsh", format!("_{name}")), ("fish", format!("{name}.fish"))] {
            std::fs::write(folder.path().join(file), said(name, &["completions", shell])).unwrap();
        }
    }
    // What zsh has for a program, found as it finds the file by itself, and compiled. What fish has
    // for the word that is being typed.
    for name in programs() {
        let zsh = format!(
            "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _{name} && \
             echo ${{_comps[{name}]}}"
        );
        let fish = format!("source {name}.fish; complete -C '{name} comp'");
        for (shell, flags, script, wanted) in [
            ("zsh", &["-f", "-c"][..], zsh, format!("_{name}")),
            ("fish", &["--no-config", "-c"][..], fish, "completions\t".to_owned()),
        ] {
            let mut command = Command::new(shell);
            let Ok(output) = command.args(flags).arg(script).current_dir(&folder).output() else {
                testing::skip(shell);
                continue;
            };
            let words = String::from_utf8_lossy(&output.stdout);
            let is_there = words.lines().any(|line| line.starts_with(&wanted));
            assert!(is_there, "{shell}: {}", told(&output));
        }
    }
}

#[test]
fn every_program_has_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    for name in programs() {
        let page = said(name, &["man"]);
        assert!(page.contains(&format!(".TH {name} 1 ")), "{name}: {page}");
        assert!(page.contains("\\-\\-help"), "{name}: {page}");
        assert_eq!(said(name, &["man", "--out", folder.path().to_str().unwrap()]), "");
    }
    let is_there = |page: &str| folder.path().join(page).exists();
    for page in ["rig-c10k.1", "comet-server-friends-load.1", "memlog-mark.1", "msggen-friends.1"] {
        assert!(is_there(page), "{page}");
    }
    assert!(is_there("floodtest-urls.1") && !is_there("floodtest-worker.1"));
    let nowhere = Path::new("/nowhere");
    for name in programs() {
        let output = run(name, &["man", "--out", nowhere.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        let saying = format!("{name}: cannot write into /nowhere: No such file");
        assert!(told(&output).contains(&saying), "{}", told(&output));
    }
}
