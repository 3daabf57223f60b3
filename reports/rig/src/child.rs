//! Nothing outlives the rig, however it ends: it starts programs through itself.
//!
//! `rig __child PID PROGRAM …` asks the kernel to be killed when its parent dies, and then becomes
//! the program, which keeps that. The rig cannot see to it by itself: `kill -9` leaves it no time.
//!
//! The kernel's parent is the thread that forked. So programs are started from the main thread
//! only, which lives as long as the rig; its runtime has no other.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::gettid;
use tokio::process::Command;

/// The first argument of a rig that is to become another program.
const CHILD: &str = "__child";

/// A command that runs `program` and ends with this process. It must be started from the main
/// thread.
pub(crate) fn command(program: &Path) -> Command {
    assert_eq!(gettid(), getpid(), "a program ends with the thread that starts it");
    // The file of this process, even if another one was built in its place since it was started.
    let mut command = Command::new("/proc/self/exe");
    command.arg(CHILD).arg(getpid().as_raw_nonzero().to_string()).arg(program);
    command.kill_on_drop(true);
    command
}

/// Becomes a program if the arguments of this process say so, and does not return then; an error
/// if it cannot.
pub(crate) fn become_program() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != CHILD) {
        return Ok(());
    }
    let parent = args.next().and_then(|pid| Pid::from_raw(pid.to_str()?.parse().ok()?));
    let (Some(parent), Some(program)) = (parent, args.next()) else {
        bail!("{CHILD} is for the rig itself");
    };
    let dies_with_parent = set_parent_process_death_signal(Some(Signal::KILL));
    dies_with_parent.context("cannot see to it that programs end with the rig")?;
    // If the rig died before that, nobody would be told of it any more.
    ensure!(getppid() == Some(parent), "the rig that started this is gone");
    let rest: Vec<OsString> = args.collect();
    let error = process::Command::new(&program).args(rest).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
