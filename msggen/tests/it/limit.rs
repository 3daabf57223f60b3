//! Whether msggen says that it was the limit of a run itself: always when it shares its core with a
//! busy process, never for a server that stalls.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use rustix::thread::sched_getaffinity;
use testing::wait_until;

use crate::support::{
    FakeServer, Finished, all_reached, reached, start_pinned, start_unread, wait_for_report,
};

/// A process that never rests, on one core. It ends with the test.
struct Busy(Child);

impl Busy {
    /// Starts it on `core`; none where there is no program to pin it.
    fn on(core: usize) -> Option<Self> {
        let mut taskset = Command::new("taskset");
        taskset.args(["-c", &core.to_string(), "sh", "-c", "while :; do :; done"]);
        let child = taskset.stdin(Stdio::null()).spawn().ok()?;
        let stat = format!("/proc/{}/stat", child.id());
        // It is pinned before it becomes the shell.
        wait_until("the busy process", || {
            std::fs::read_to_string(&stat).is_ok_and(|text| text.contains("(sh)"))
        });
        Some(Self(child))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A core that this process may use.
fn core() -> usize {
    let cores = sched_getaffinity(None).unwrap();
    (0..1_024).find(|core| cores.is_set(*core)).unwrap()
}

#[test]
fn beside_a_busy_process_on_its_core_it_says_that_it_is_the_limit() {
    let core = core();
    let Some(_busy) = Busy::on(core) else { return testing::skip("taskset") };
    let fake = FakeServer::open();
    for (interval, expect, code) in [
        ("--num 200 --interval 10", "", 0),
        ("--num 200 --interval 10", "--expect failed=0,send_from_due.p99<1h", 1),
        ("--num 3k --interval 0", "--expect send_from_send.max<1h", 1),
    ] {
        let flags = format!("{interval} {expect} --max 9 --sources 10 --json --allow-late");
        let run = start_pinned(core, &format!("{flags} --server {}", fake.url()));
        let run = run.finish().code(code).says("limited by msggen: ");
        let report = run.balanced();
        run.assert(report["limited_by"] == "msggen", "msggen was the limit");
        let is_invalid = run.stderr.contains("msggen: not valid: send_from_");
        run.assert(is_invalid == (code == 1), "what is expected of delays is not valid");
        let share = report["core_wait_share"].as_f64().unwrap();
        run.assert((0.0..=1.0).contains(&share), "a share");
    }
}

/// What holds up a server from one message on until it is told to go on.
#[derive(Default)]
struct Gate {
    /// Whether it is open again.
    is_open: Mutex<bool>,
    /// Tells of it.
    opened: Condvar,
}

impl Gate {
    /// Waits until it is open.
    fn wait(&self) {
        let guard = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(guard, |is_open| !*is_open).unwrap());
    }

    /// Opens it.
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// A server that answers nothing from its hundredth request on until the gate opens, as one that is
/// stopped: connections and what they carry are taken by the kernel. Tells when it has begun.
fn stalling(gate: &Arc<Gate>, begun: Sender<()>) -> FakeServer {
    let (gate, begun) = (Arc::clone(gate), Mutex::new(begun));
    FakeServer::new(move |request| {
        if request.number == 99 {
            let _ = begun.lock().unwrap().send(());
        }
        if request.number >= 99 {
            gate.wait();
        }
        if request.head.starts_with("POST /send ") { all_reached(request) } else { reached(1) }
    })
}

/// Runs msggen with `flags`, the last of which names a server, one that stalls for most of the run.
fn run_stalled(flags: &str) -> Finished {
    let (gate, (tell, told)) = (Arc::default(), channel());
    let fake = stalling(&gate, tell);
    let always = "--num 150 --max 9 --sources 10 --json --report 50ms --allow-late";
    let mut run = start_unread(&format!("{always} {flags} {}", fake.url()));
    let mut reports = run.stdout_lines();
    told.recv().unwrap();
    // Four seconds are most of a run that needs half of one otherwise.
    wait_for_report(&mut reports, |it| it["elapsed_s"].as_f64() > Some(4.0));
    gate.open();
    let last = reports.last().unwrap();
    let mut run = run.finish();
    run.stdout = last;
    run
}

#[test]
fn a_server_that_stalls_is_never_taken_for_a_fault_of_msggen() {
    let ways = [
        "--interval 20 --server",
        "--interval 20 --stamp --server",
        "--interval 0 --server",
        "--interval 20 --batch 4 --server",
        "--interval 20 --in-flight 3 --to",
    ];
    let runs = ways.map(|flags| {
        let flags = format!("--expect send_from_due.p99<1h {flags}");
        std::thread::spawn(move || run_stalled(&flags))
    });
    for run in runs {
        let run = run.join().unwrap().code(0);
        let report = run.balanced();
        run.assert(report["limited_by"].is_null(), "the server was the limit");
        run.assert(!run.stderr.contains("limited by"), "nor is it said to people");
        let us = |delay: &serde_json::Value| delay["max_us"].as_u64().unwrap();
        let (own, whole) = (us(&report["own"]["lateness"]), us(&report["send_from_due"]));
        run.assert(own * 2 < whole, "what was due in the stall is not late by msggen itself");
    }
}

#[test]
fn a_wait_for_a_connection_is_no_lateness_of_its_own() {
    // Two sources share a connection, and one waits while the other's answer does not come.
    let (gate, (tell, told)) = (Arc::<Gate>::default(), channel());
    let held = (Arc::clone(&gate), Mutex::new(tell));
    let fake = FakeServer::new(move |request| {
        if request.number == 1 {
            held.1.lock().unwrap().send(()).unwrap();
            held.0.wait();
        }
        reached(1)
    });
    let flags = "--num 10 --interval 20 --max 9 --sources 2 --connections 1 --report 20ms --json";
    let mut run = start_unread(&format!("{flags} --allow-late --server {}", fake.url()));
    let mut reports = run.stdout_lines();
    told.recv().unwrap();
    wait_for_report(&mut reports, |it| it["elapsed_s"].as_f64() > Some(2.0));
    gate.open();
    let last = reports.last().unwrap();
    let mut run = run.finish().code(0);
    run.stdout = last;
    let report = run.balanced();
    let us = |delay: &serde_json::Value| delay["max_us"].as_u64().unwrap();
    let (own, late) = (us(&report["own"]["lateness"]), us(&report["lateness"]));
    run.assert(own * 2 < late, "the connection was the server's");
    assert_eq!(report["own"]["lateness"]["count"], report["sent"]);
}
