//! Keeps a server of a run: follows it to its end, and does to it on time what the scenario asks
//! for. One that is killed is started again by the same command, on the same ports.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reports::run::{self, Exit, FaultKind, Faults};
use reports::stamp;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::process::{LastWords, Process};
use crate::programs::Programs;
use crate::ready::{READY_EVERY, says, try_it};
use crate::scenario::Fault;

/// The process of a server, as others see it: 0 while there is none.
pub(crate) type CurrentPid = Arc<AtomicU32>;

/// When faults are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// Not yet: nobody connects.
    Before,
    /// As long after this as each of them says.
    Since(Instant),
    /// No more: what has begun is brought to its end at once.
    Over,
}

/// How a server is started again.
pub(crate) struct Again {
    /// Where its program is.
    pub(crate) programs: Programs,
    /// Its command.
    pub(crate) command: Vec<String>,
    /// What it is called.
    pub(crate) called: String,
    /// What it said when it was ready: each pattern, and what stood there. It must say so again.
    pub(crate) said: Vec<(String, String)>,
    /// A port or a URL where it answers when it is ready.
    pub(crate) ready: Option<String>,
    /// How long that may take.
    pub(crate) ready_timeout: Duration,
    /// Where it is written down what was done.
    pub(crate) folder: PathBuf,
}

/// A server that is kept.
pub(crate) struct Keeper {
    /// It.
    pub(crate) process: Process,
    /// Its process, for others.
    pub(crate) pid: CurrentPid,
    /// What it said last, for others.
    pub(crate) said: LastWords,
    /// What is still to be done to it.
    pub(crate) faults: VecDeque<Fault>,
    /// How it is started again; `None` where nothing is done to it.
    pub(crate) again: Option<Again>,
    /// When faults are done.
    pub(crate) time: watch::Receiver<Time>,
    /// Whether one is being done.
    pub(crate) is_busy: watch::Sender<bool>,
}

impl Keeper {
    /// Keeps it until it ends by itself, or is told to. How it ended, and before that how it did
    /// each time that it was killed.
    pub(crate) async fn keep(mut self) -> anyhow::Result<Vec<Exit>> {
        let (mut exits, mut done) = (Vec::new(), Faults::default());
        while let Some(fault) = self.faults.pop_front() {
            let is_due = tokio::select! {
                exit = self.process.followed() => {
                    exits.push(exit?);
                    return Ok(exits);
                }
                is_due = is_due(&mut self.time, fault.at) => is_due,
            };
            if !is_due {
                break;
            }
            self.is_busy.send_replace(true);
            let went = self.carry_out(fault, &mut exits, &mut done).await;
            self.is_busy.send_replace(false);
            if let Err(error) = went {
                // What there is of the run is there to be read.
                let (program, said) = (self.called(), format!("{error:#}"));
                self.said.keep(said.clone());
                exits.push(Exit { program, said, ..Exit::default() });
                return Ok(exits);
            }
        }
        exits.push(self.process.followed().await?);
        Ok(exits)
    }

    /// What it is called.
    fn called(&self) -> String {
        self.again.as_ref().map_or_else(String::new, |again| again.called.clone())
    }

    /// Does something to it, and brings it back.
    async fn carry_out(
        &mut self,
        fault: Fault,
        exits: &mut Vec<Exit>,
        done: &mut Faults,
    ) -> anyhow::Result<()> {
        let again = self.again.as_ref().expect("whoever has faults has a way back");
        let folder = again.folder.clone();
        let back_at = Instant::now() + fault.back_after;
        done.faults.push(run::Fault {
            what: fault.what,
            unix_ms: stamp::wall_now_ms(),
            back_unix_ms: None,
        });
        match fault.what {
            FaultKind::Stop => {
                self.process.signal_all(Signal::STOP);
                done.write(&folder)?;
                wait_until(back_at, &mut self.time).await;
                self.process.signal_all(Signal::CONT);
            }
            FaultKind::Kill => {
                self.process.signal_all(Signal::KILL);
                let exit = self.process.followed().await?;
                exits.push(Exit { said: String::new(), is_expected: true, ..exit });
                // Nobody is to be signalled who may have its number next.
                self.pid.store(0, Ordering::SeqCst);
                done.write(&folder)?;
                wait_until(back_at, &mut self.time).await;
                self.process = self.start_again().await?;
                self.pid.store(self.process.pid(), Ordering::SeqCst);
                self.wait_until_ready().await?;
            }
        }
        if let Some(last) = done.faults.last_mut() {
            last.back_unix_ms = Some(stamp::wall_now_ms());
        }
        done.write(&folder)?;
        Ok(())
    }

    /// Starts it once more, and hears what it says.
    async fn start_again(&self) -> anyhow::Result<Process> {
        let again = self.again.as_ref().expect("whoever has faults has a way back");
        let deadline = Instant::now() + again.ready_timeout;
        let process = again.programs.start(&again.command[0], &again.command[1..])?;
        let mut process = process.called(again.called.clone());
        for (pattern, before) in &again.said {
            let told = timeout_at(deadline, says(&mut process, pattern)).await;
            let (_, now) = told.with_context(|| {
                format!(
                    "started again, it did not say \"{pattern}\" in {:?}; its last output: {}",
                    again.ready_timeout,
                    process.last_words()
                )
            })??;
            // Its clients and its sender go on with what they were told first.
            ensure!(
                now == *before,
                "started again, it said \"{now}\" and not \"{before}\": give it fixed ports, such \
                 as {{port}} and {{control_port}}"
            );
        }
        Ok(process)
    }

    /// Waits until it answers where it did before.
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let again = self.again.as_ref().expect("whoever has faults has a way back");
        let Some(ready) = &again.ready else { return Ok(()) };
        let deadline = Instant::now() + again.ready_timeout;
        loop {
            let why = tokio::select! {
                tried = try_it(ready) => match tried {
                    Ok(()) => return Ok(()),
                    Err(error) => format!("{error:#}"),
                },
                exit = self.process.followed() => {
                    bail!("started again, it ended: {}", exit?.said);
                }
            };
            ensure!(
                Instant::now() < deadline,
                "started again, it was not ready at {ready} within {:?} ({why})",
                again.ready_timeout
            );
            sleep(READY_EVERY).await;
        }
    }
}

/// Waits until a fault is due that is to be done `after` the beginning. False: it is not, since
/// faults are over.
async fn is_due(time: &mut watch::Receiver<Time>, after: Duration) -> bool {
    loop {
        let now = *time.borrow_and_update();
        let due = match now {
            Time::Over => return false,
            Time::Before => None,
            Time::Since(began) => Some(began + after),
        };
        let is_due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = is_due => return true,
            // The other end is gone only with the whole run.
            changed = time.changed() => if changed.is_err() {
                return false;
            },
        }
    }
}

/// Waits until `at`, or until faults are over.
async fn wait_until(at: Instant, time: &mut watch::Receiver<Time>) {
    tokio::select! {
        () = sleep_until(at) => {}
        // The other end is gone only with the whole run.
        _ = time.wait_for(|time| *time == Time::Over) => {}
    }
}
