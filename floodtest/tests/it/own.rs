//! What floodtest says of itself: whether it was the limit.

use std::fs;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use reports::books::FloodReport;
use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::{OUR_HEAD, Server, chunk, hold, run, send, start};

/// Connections of the runs of these tests.
const N: u64 = 20;

/// How long a server waits between two messages on a connection.
const EVERY: Duration = Duration::from_millis(4);

/// A server that sends a message on each connection every few milliseconds until its client
/// leaves, but for as long as it `stands_still`.
fn pacing(stands_still: &Arc<AtomicBool>) -> Server {
    let stands_still = Arc::clone(stands_still);
    Server::start(move |_, stream| {
        send(stream, OUR_HEAD);
        let (_sender, never) = channel::<()>();
        let mut n_due = 0;
        // What fell due while it stood still is sent as soon as it goes on.
        while never.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            n_due += 1;
            if stands_still.load(Ordering::Relaxed) {
                continue;
            }
            let text = chunk("x").repeat(std::mem::take(&mut n_due));
            if std::io::Write::write_all(stream, text.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A thread that takes all that it gets of a core, as long as this is there.
struct Busy {
    /// Whether it is to end.
    is_over: Arc<AtomicBool>,
    /// The thread.
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    /// Takes the core of this number.
    fn on(core: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            pin(None, core);
            while !told.load(Ordering::Relaxed) {
                (0..10_000).for_each(|_| spin_loop());
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Keeps a process, or this thread, on one core.
fn pin(pid: Option<Pid>, core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(pid, &only).unwrap();
}

/// A core that this process may use.
fn a_core() -> usize {
    let allowed = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap()
}

/// The part of its time that the thread of process `pid` could have run and waited for a core, in
/// seconds so far; 0 if the kernel does not say.
fn waited_s(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let waited_ns = text.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse::<u64>().ok());
    Duration::from_nanos(waited_ns.unwrap_or(0)).as_secs_f64()
}

#[test]
fn a_tool_that_must_share_its_core_with_a_busy_loop_says_that_it_is_the_limit() {
    let server = pacing(&Arc::default());
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "1000", "--json", "--report", "100ms"];
    let core = a_core();
    let _busy = Busy::on(core);
    for (expect, code) in [("connected=20,gap.p99<1h", 1), ("connected=20", 0)] {
        let mut running = start(&[&args[..], &["--expect", expect]].concat());
        pin(Pid::from_raw(running.pid().try_into().unwrap()), core);
        let limited = running.wait_for(|report| report.limited_by.is_some());
        assert_eq!(limited.limited_by.as_deref(), Some("floodtest"));
        running.signal(Signal::INT);
        let ended = running.end().with_code(code);
        let report = ended.report();
        let is_note = |note: &String| note.starts_with("limited by floodtest: in ");
        assert_eq!(report.notes.iter().filter(|note| is_note(note)).count(), 1, "{report:?}");
        let is_said = ended.stderr.contains("floodtest: not valid: limited by floodtest: in ");
        assert_eq!(is_said, code == 1, "{ended}");
    }
}

#[test]
fn a_server_that_stands_still_for_seconds_is_not_taken_for_the_tool() {
    let stands_still = Arc::new(AtomicBool::new(false));
    let server = pacing(&stands_still);
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "1000", "--json", "--report", "50ms", "--gaps"];
    let mut running = start(&args);
    let pid = running.pid();
    let before = running.wait_for(|report| report.elapsed_s >= 2.0);
    stands_still.store(true, Ordering::Relaxed);
    let still = running.wait_for(|report| report.elapsed_s >= before.elapsed_s + 3.0);
    stands_still.store(false, Ordering::Relaxed);
    running.wait_for(|report| report.elapsed_s >= still.elapsed_s + 2.0);
    let waited_s = waited_s(pid);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    // It did stand still, and what it then sent came at once.
    assert!(report.gap.max_us as f64 > 2.5e6 && report.gap.count > 10 * N, "{report:?}");
    // Other programs may take the cores of this machine, and then floodtest is right to say so: two
    // seconds of which it waited a twentieth are the least that it takes. Without those it is not
    // to blame, whatever the server did.
    assert!(report.limited_by.is_none() || waited_s >= 0.1, "waited {waited_s} s, {report:?}");
}

#[test]
fn a_report_says_how_late_the_tool_itself_was_and_how_fast_it_was_to_be() {
    let server = Server::start(|_, stream| {
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--json", "--hold", "1500ms"];
    let report = |rate| run(&[&args[..], &["--rate", rate]].concat()).with_code(0).report();
    let FloodReport { own, .. } = report("200");
    assert!(own.lateness.count >= N && own.lateness.max_us >= own.lateness.p50_us, "{own:?}");
    assert_eq!(own.asked_per_s, Some(200.0));
    assert!(own.achieved_per_s > 0.0 && own.achieved_per_s < 250.0, "{own:?}");
    let share = own.busiest_thread_share.unwrap();
    assert!((0.0..=1.0).contains(&share), "{own:?}");
    assert_eq!(report("max").own.asked_per_s, None);
}
