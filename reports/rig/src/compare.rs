//! `rig compare`: runs side by side, and whether a change is one that must not be.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use charts::Question;
use reports::compare::condition::{Conditions, Outcome};
use reports::compare::figures;
use reports::replace::replace;
use reports::run::files;

/// The most runs of a side. Each pair of runs is looked at, for each figure.
const MOST_RUNS: usize = 200;

/// What `rig compare` is asked for.
#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "what people read in a terminal")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct CompareArgs {
    /// Two run folders, one a side; or all those of the first side, before a `--`
    #[arg(value_name = "A", required_unless_present = "figures")]
    a: Vec<PathBuf>,
    /// The run folders of the second side, behind a `--`; at most 200 a side
    #[arg(value_name = "B", last = true)]
    b: Vec<PathBuf>,
    /// Conditions with commas between them: 'delivery_from_due.p99>+10%' is broken by a change of
    /// more than that from A to B, 'lost>0' by any run of B. Exit code 1 when one is broken, and
    /// when these runs cannot tell
    #[arg(long, value_name = "CONDITIONS", value_parser = Conditions::parse)]
    fail_if: Option<Conditions>,
    /// Judge --fail-if although machines, plans or builds differ, or a run fell short
    #[arg(long, requires = "fail_if")]
    despite_differences: bool,
    /// Print Markdown: a table for a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print JSON: every figure of every run
    #[arg(long)]
    json: bool,
    /// Write a JUnit report as well: a test case for each condition
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = files::COMPARE)]
    out: PathBuf,
    /// List the figures that --fail-if can name
    #[arg(long, exclusive = true)]
    figures: bool,
}

/// Sets runs side by side, on a page and on `out`; `talk` is for people. Returns whether every
/// condition was kept.
pub(crate) fn run(
    args: &CompareArgs,
    out: &mut impl Write,
    talk: &mut impl Write,
) -> anyhow::Result<bool> {
    if args.figures {
        unless_unread(out.write_all(list().as_bytes()))?;
        return Ok(true);
    }
    let sides = sides(args)?;
    let none = Conditions::default();
    let question = Question {
        sides,
        conditions: args.fail_if.as_ref().unwrap_or(&none),
        is_despite_differences: args.despite_differences,
    };
    let comparison = charts::compare(&question, &args.out)?;
    if let Some(path) = &args.junit {
        let written = replace(path, comparison.junit().as_bytes());
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = if args.json {
        serde_json::to_string(&comparison).expect("a comparison is plain JSON") + "\n"
    } else if args.markdown {
        comparison.markdown()
    } else {
        comparison.to_string()
    };
    unless_unread(out.write_all(text.as_bytes()))?;
    for it in comparison.judgements.iter().filter(|it| it.outcome != Outcome::Kept) {
        unless_unread(writeln!(talk, "rig: {}: {}: {}", it.condition, it.outcome.words(), it.why))?;
    }
    unless_unread(writeln!(talk, "rig: the page is {}", args.out.display()))?;
    Ok(comparison.is_kept())
}

/// A reader that has left has read what it wanted.
fn unless_unread(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write what was compared")
        }
        _ => Ok(()),
    }
}

/// The folders of both sides.
fn sides(args: &CompareArgs) -> anyhow::Result<[&[PathBuf]; 2]> {
    let sides = match (args.a.as_slice(), args.b.as_slice()) {
        ([a, b], []) => [std::slice::from_ref(a), std::slice::from_ref(b)],
        (_, []) => bail!(
            "which runs are on which side? Two folders are one a side; of several the second side \
             stands behind a --: rig compare A1 A2 A3 -- B1 B2 B3"
        ),
        (a, b) => [a, b],
    };
    for side in sides {
        let n_runs = side.len();
        ensure!(n_runs <= MOST_RUNS, "{n_runs} runs are on one side, of at most {MOST_RUNS}");
        if let Some(flag) =
            side.iter().find(|it| it.as_os_str().as_encoded_bytes().starts_with(b"--"))
        {
            let flag = flag.display();
            bail!("\"{flag}\" stands behind the --, where only folders do: write it before the --");
        }
        let mut known = BTreeSet::new();
        let twice = side.iter().find(|folder| !known.insert(same(folder)));
        if let Some(folder) = twice {
            bail!(
                "{} is given twice on one side: a run that is counted twice makes the spread look \
                 smaller than it is",
                folder.display()
            );
        }
    }
    Ok(sides)
}

/// What two ways to name a folder have in common.
fn same(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// All figures that a condition can name.
fn list() -> String {
    let line = |it: figures::Figure| {
        let unit = match it.unit.label() {
            "" => String::new(),
            label => format!(", {label}"),
        };
        format!("{:<36} {}{unit} ({})\n", it.name, it.what, it.file)
    };
    figures::all().into_iter().map(line).collect()
}
