//! Every command that the guides tell their readers to type is run, in small.
//!
//! A block of code says what it is: `sh`, commands; `console`, what a terminal showed, whose
//! commands stand behind a `$`; anything else is no command. Each block of commands is run, or is
//! listed here with the reason why it is not.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::installed::built;
use crate::rig::told;
use crate::tidy::top;

/// What the commands run in.
const SHELL: &str = include_str!("guides.sh");

/// The longest that the commands of a guide may take, in seconds.
const LONGEST_S: &str = "120";

/// A guide, and how its commands are run.
struct Guide {
    /// The file, in `reports/docs`.
    file: &'static str,
    /// What stands in its commands, and what is run in its place so that it takes seconds; `$&` is
    /// what stands there.
    small: &'static [(&'static str, &'static str)],
    /// The beginnings of blocks that need nothing of those before them. They are run at the same
    /// time as the others, each in a shell and a folder of its own.
    apart: &'static [&'static str],
    /// The beginnings of blocks that are not run, and why not.
    not_run: &'static [(&'static str, &'static str)],
    /// What is done before the first command.
    before: &'static str,
    /// What a machine must have for it beside bash, as `command -v` finds it, or [`WS`].
    needs: &'static [&'static str],
}

/// The package ws of node's, which `.ci/run` installs for floodtest's tests.
const WS: &str = "the package ws of node";

/// Pages whose commands are not run from here, and who looks at them.
const ELSEWHERE: [(&str, &str); 5] = [
    ("your-own-server.md", "floodtest/tests/interop runs each against the server that it names"),
    ("promises.md", "there are none"),
    (
        "installing.md",
        "package/try.sh, in .ci/run; the others install on the machine that runs them",
    ),
    ("rig.md", "each of its experiments is run by a guide here, by rig.rs or by abuse.rs"),
    ("figures.md", "its scripts measure for minutes to hours on an idle machine"),
];

/// A second of sending to 50 connections: flags of an experiment, and values of a scenario.
macro_rules! small {
    () => {
        "--connections 50 --messages-per-second 100 --minutes 0.02"
    };
    (set) => {
        "--set connections.count=50 --set messages.rate=100 --set messages.for=1s"
    };
    (storm) => {
        "--connections 50 --rate 500 --messages-per-second 100 --sources 10 --minutes 0.1 \
         --storm 1s:50% --kill-at 4s --back-after 1s"
    };
}

/// What a scenario is run with in small, but for how long it sends.
const SMALL_SET: &str = "--set connections.count=50 --set messages.rate=100";

/// All guides, but those whose commands are not run from here.
const GUIDES: [Guide; 13] = [
    Guide {
        file: "comet-server.md",
        small: &[
            ("curl http://127.0.0.1:8001/healthz", "wait_for 'Hello World' node.out\n$&"),
            ("redis://127.0.0.1:6379", "\"$BROKER\""),
            (" --listen 127.0.0.2:8000 --control 127.0.0.2:8001", ""),
            ("127.0.0.2:8001", "127.0.0.1:8001"),
            // It has the store open.
            (
                "comet-server friends dump friends",
                "kill \"${STARTED[-1]}\"; wait \"${STARTED[-1]}\"\n$&",
            ),
        ],
        before: "printf '%s\\n' '{\"id\":123,\"msg\":\"Hello\"}' > lines
            printf '%s\\n' '{\"follow\":[7,9]}' '{\"unfollow\":[7,9]}' > changes
            msggen friends --users 200 --follows 15 --seed 7 --out edges
            broker",
        needs: &["curl", "redis-server", WS],
        ..NONE
    },
    Guide {
        file: "floodtest.md",
        small: &[
            ("--count 10k", "--count 50"),
            ("--storm 60s:50% --hold 2m", "--storm 2s:50% --hold 4s"),
            ("connected>=10000", "connected>=50"),
            ("settle.t100<30s'", "settle.t100<30s'\nwait \"$FLOOD\""),
        ],
        not_run: &[
            (
                "sh: floodtest --urls chats.txt --method POST --header 'Authorization",
                "your-own-server.md has one like it, which floodtest/tests/interop runs",
            ),
            ("sh: floodtest --urls sockets.txt", "likewise"),
            (
                "sh: floodtest --urls chats.txt --method POST --header 'Content-Type",
                "`rig llm` runs floodtest like this, in language-models.md",
            ),
        ],
        before: "comet-server",
        ..NONE
    },
    Guide {
        file: "memlog.md",
        small: &[(
            "--pid auto --port 8000",
            "--pid \"${STARTED[0]}\" --port \"$PORT\" --interval 1s --for 2s",
        )],
        before: "comet-server",
        ..NONE
    },
    Guide {
        file: "msggen.md",
        small: &[
            (
                "--num 1000000 --interval 100 --max 10000 --sources 100 --stamp",
                "--num 5 --interval 100 --max 50 --sources 10",
            ),
            ("--users 1m", "--users 500"),
        ],
        not_run: &[
            (
                "sh: msggen --num 1000 --interval 100 --max 10000 --sources 100 --to 'http",
                "your-own-server.md has whole commands to servers that are not ours",
            ),
            ("sh: msggen --num 1000 --interval 100 --max 10000 --sources 100 --to ws", "likewise"),
        ],
        before: "comet-server",
        ..NONE
    },
    Guide {
        file: "friends.md",
        small: &[
            ("--users 100k --follows 15", "--users 500 --follows 15"),
            ("/8294", "/294"),
            ("/86351", "/351"),
            ("--count 2k", "--count 50"),
            ("--num 100 --interval exp:60ms --max 100k", "--num 10 --interval 60 --max 500"),
            ("--sources 50", "--sources 10"),
            (
                "cargo rig friends\n",
                concat!("cargo rig friends --users 500 --sources 10 ", small!(), "\n"),
            ),
            (
                "--users 2000 --connections 500 --messages-per-second 500 --sources 10 \
                 --minutes 0.1",
                concat!("--users 200 --sources 10 ", small!()),
            ),
            (
                "--users 19k --connections 19k --messages-per-second 1000",
                concat!("--users 50 --sources 10 ", small!()),
            ),
        ],
        apart: &["sh: cargo rig friends"],
        not_run: &[(
            "console: comet-server friends load",
            "the block before it, once more, with what it says",
        )],
        needs: &["curl"],
        ..NONE
    },
    Guide {
        file: "how-figures-are-measured.md",
        small: &[
            ("--set connections.count=1000 --set messages.rate=500", SMALL_SET),
            ("--set messages.for=10s", "--set messages.for=3s"),
            ("at=\"6s\"", "at=\"3s\""),
            ("back-after=\"2s\"", "back-after=\"1s\""),
            ("--messages-per-second 1000 --minutes 0.5", small!()),
            ("for n in 1 2 3 4; do", "for n in 1 2; do"),
            ("--minutes 2", small!()),
            ("a-1 a-2 a-3 a-4 -- b-1 b-2 b-3 b-4", "a-1 a-2 -- b-1 b-2"),
        ],
        apart: &["sh: "],
        needs: &["jq"],
        ..NONE
    },
    Guide {
        file: "language-models.md",
        small: &[
            ("--streams 1000", "--streams 20 --for 3s"),
            ("--rate 50 --for 1m", "--rate 5 --for 3s"),
            (
                "--set connections.pattern=http://127.0.0.1:8080/v1/chat/completions",
                "--set connections.count=20 --set connections.hold=3s",
            ),
        ],
        apart: &["sh: "],
        needs: &["gcc", "make"],
        ..NONE
    },
    Guide {
        file: "pipelines.md",
        small: &[("for n in 1 2 3 4 5; do", "for n in 1; do"), ("--minutes 2", small!())],
        not_run: &[(
            "sh: rig compare before-1",
            "compare.rs runs it on ten runs that are written for it, and looks at what came of it",
        )],
        ..NONE
    },
    Guide {
        file: "reading-a-report.md",
        small: &[("--connections 1000 --messages-per-second 500 --minutes 0.5", small!())],
        needs: &["jq"],
        ..NONE
    },
    Guide {
        file: "scenarios.md",
        small: &[
            ("rig run my-server.toml", concat!("rig run my-server.toml ", small!(set))),
            ("--connections 1000 --to", "--connections 50 --for 1s --to"),
            ("--repeats 5", concat!("--repeats 1 ", small!(set))),
        ],
        apart: &["sh: rig peers"],
        before: "python3 \"$STREAM\" > stream.out & STARTED+=(\"$!\")
            wait_for serves stream.out
            PORT=$(sed -n 's/stream.py serves //p' stream.out)",
        needs: &["python3", "nginx", "node"],
        ..NONE
    },
    Guide {
        file: "several-hosts.md",
        small: &[
            ("--count 100k", "--count 50"),
            ("http://server:8000", "http://127.0.0.1:8000"),
            ("--pid auto --port 8000", "--pid \"${STARTED[0]}\""),
            ("mochimem.log &", "mochimem.log & STARTED+=(\"$!\")"),
            ("sent.ndjson &", "sent.ndjson"),
            ("--num 1k --interval 100 --max 100k --sources 100", "--num 5 --interval 100 --max 50"),
        ],
        // The way to each host, without one: hosts.rs has real ones.
        before: "mkdir bin
            S='while [ \"$1\" != -- ]; do shift; done'
            printf '%s\\n' '#!/bin/sh' \"$S\" 'shift 2' 'exec \"$@\"' > bin/ssh
            printf '%s\\n' '#!/bin/sh' > bin/scp
            chmod +x bin/*
            PATH=$PWD/bin:$PATH
            comet-server --threads 1",
        ..NONE
    },
    Guide {
        file: "storms.md",
        small: &[
            ("cargo rig storm\n", concat!("cargo rig storm ", small!(storm), "\n")),
            ("--sweep backoff=0,1s,5s,30s", concat!("--sweep backoff=0,1s ", small!(storm))),
            ("cargo rig run c10k", concat!("cargo rig run c10k ", small!(set))),
        ],
        apart: &["sh: "],
        ..NONE
    },
    Guide {
        file: "tuning.md",
        small: &[
            ("cargo rig c1m --plan", "cargo rig c1m --connections 1000 --plan"),
            ("--count 100k", "--count 100"),
            ("cargo rig c10k --minutes 1", concat!("cargo rig c10k ", small!())),
            (
                "--connections 40000 --no-cluster --minutes 1",
                concat!("--no-cluster --sources 10 ", small!()),
            ),
        ],
        apart: &["sh: cargo rig c10k"],
        needs: &["sysctl", "nstat", "ss"],
        ..NONE
    },
];

/// A guide of which nothing is known.
const NONE: Guide =
    Guide { file: "", small: &[], apart: &[], not_run: &[], before: "", needs: &[] };

/// A block of commands.
#[derive(Debug)]
struct Block {
    /// Its language and its first line, by which it is known here.
    name: String,
    /// The commands.
    commands: String,
}

/// The folder of the guides.
fn docs() -> PathBuf {
    top().join("reports/docs")
}

/// The blocks of commands of a guide, in their order. One whose language is not said is refused:
/// nobody would know whether it has to be run.
fn blocks(file: &str) -> Vec<Block> {
    let text = fs::read_to_string(docs().join(file)).unwrap();
    let mut blocks = Vec::new();
    for (at, block) in text.split("\n```").enumerate().filter(|(at, _)| at % 2 == 1) {
        let (language, block) = block.split_once('\n').unwrap();
        let commands: String = match language {
            "sh" => format!("{block}\n"),
            "console" => {
                let typed = block.lines().filter_map(|line| line.strip_prefix("$ "));
                typed.flat_map(|line| [line, "\n"]).collect()
            }
            "json" | "text" | "toml" | "yaml" => continue,
            _ => panic!("{file}: block {at} is neither sh nor console nor text: {block}"),
        };
        if let Some(first) = commands.lines().next() {
            blocks.push(Block { name: format!("{language}: {first}"), commands });
        }
    }
    blocks
}

/// What is run of a guide: the commands of one shell each. Everything that is listed of it here has
/// to be in it.
fn shells(guide: &Guide) -> Vec<String> {
    let blocks = blocks(guide.file);
    let file = guide.file;
    for (from, _) in guide.small {
        let is_there = blocks.iter().any(|block| block.commands.contains(from));
        assert!(is_there, "{file}: no command has {from:?}, which is made small here");
    }
    for name in guide.apart.iter().chain(guide.not_run.iter().map(|(name, _)| name)) {
        let is_there = blocks.iter().any(|block| block.name.starts_with(name));
        assert!(is_there, "{file}: no block begins with {name:?}, as it does here");
    }
    let (mut one, mut shells) = (guide.before.to_owned(), Vec::new());
    for block in blocks {
        if guide.not_run.iter().any(|(name, _)| block.name.starts_with(name)) {
            continue;
        }
        let mut commands = block.commands;
        for (from, to) in guide.small {
            commands = commands.replace(from, &to.replace("$&", from));
        }
        if guide.apart.iter().any(|name| block.name.starts_with(name)) {
            shells.push(commands);
        } else {
            write!(one, "\n{commands}").unwrap();
        }
    }
    if one != guide.before {
        shells.push(one);
    }
    shells
}

/// Runs `commands` in a folder of their own, in which the checkout's `reports` is.
pub(crate) fn run(file: &str, commands: &str) {
    let place = tempfile::tempdir().unwrap();
    symlink(top().join("reports"), place.path().join("reports")).unwrap();
    let programs = built("rig").parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    let path = [programs].into_iter().chain(std::env::split_paths(&path));
    let mut shell = Command::new("timeout");
    shell.args([LONGEST_S, "bash", "-euc", &format!("{SHELL}{commands}")]);
    shell.current_dir(place.path()).env("PATH", std::env::join_paths(path).unwrap());
    // As for those who have installed it: the rig finds the programs beside itself.
    shell.env_remove("CARGO").env_remove("CARGO_PKG_NAME");
    let stream = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/servers/stream.py");
    shell.env("STREAM", stream).env("NODE_PATH", node_packages());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{file}:\n{commands}\n{}", told(&output));
}

/// Where `.ci/run` has installed packages of node's.
fn node_packages() -> PathBuf {
    testing::installed().join("node/node_modules")
}

/// Whether a program is there, by its name, or [`WS`].
fn is_there(program: &str) -> bool {
    let mut look = Command::new("sh");
    if program == WS {
        look.args(["-c", "node -e \"require('ws')\""]).env("NODE_PATH", node_packages());
    } else {
        look.args(["-c", "command -v \"$0\"", program]);
    }
    look.output().unwrap().status.success()
}

#[test]
fn every_guide_is_known_here() {
    for entry in fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap().to_owned();
        if path.extension().is_none_or(|it| it != "md")
            || ELSEWHERE.iter().any(|(file, _)| *file == name)
        {
            continue;
        }
        let is_known = GUIDES.iter().any(|guide| guide.file == name);
        assert!(is_known || blocks(&name).is_empty(), "{name} has commands that nobody runs");
    }
}

#[test]
fn every_command_of_the_guides_can_be_typed_as_it_stands_there() {
    built("rig");
    thread::scope(|scope| {
        for guide in &GUIDES {
            let missing = guide.needs.iter().find(|program| !is_there(program));
            if let Some(program) = missing {
                testing::skip(&format!("{program}, for the commands of {}", guide.file));
                continue;
            }
            // They wait for each other's seconds more than they compute.
            for commands in shells(guide) {
                scope.spawn(move || run(guide.file, &commands));
            }
        }
    });
}
