//! Text for terminals and pipes, written by threads of their own.
//!
//! Whoever measures never waits for whoever reads: what is said goes into a queue that is bounded,
//! and a thread writes it. A reader that stops (Ctrl-S, `less`, a slow collector) is left out of
//! what was live; how much that was it reads as soon as it goes on, and the last report waits for
//! it, until somebody tells the program to end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that wait for a reader before what is live is dropped: some sixty reports of floodtest,
/// twice as much as a pipe holds.
const QUEUE_BYTES: usize = 128 * 1024;

/// How long a program that was told to end waits for its readers. Whoever pressed Ctrl-C waits for
/// two seconds at the most, and ending the run takes a part of them.
const LAST_WORDS_TIME: Duration = Duration::from_millis(1_500);

/// How long a stream is waited for in any case: the time that a reader takes who reads.
const LEAST_TIME: Duration = Duration::from_millis(100);

/// How often it is looked at whether the program was told to end, while nothing but readers keeps
/// it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long to wait for room in a pipe that another of its owners has made non-blocking.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// The stack of a thread that copies text.
const STACK_BYTES: usize = 64 * 1024;

/// What stands where lines are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text for people: a line that begins with `#` and says how many.
    Text,
    /// An object a line: the next one has their number as `dropped_reports`.
    Json,
}

impl Form {
    /// `text` after `n_dropped` others that were dropped.
    fn after(self, n_dropped: u64, text: &str) -> String {
        match (self, text.strip_prefix('{')) {
            (Self::Json, Some(fields)) => format!("{{\"dropped_reports\":{n_dropped},{fields}"),
            (Self::Json, None) => format!("{{\"dropped_reports\":{n_dropped}}}\n{text}"),
            (Self::Text, _) => {
                format!("# {n_dropped} lines are missing here: nobody read them in time\n{text}")
            }
        }
    }
}

/// Nobody read what was said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the end of stdout is missing: nobody read it within {:.1} s of the signal to end",
    LAST_WORDS_TIME.as_secs_f64()
)]
pub struct Unread;

/// Where text goes.
struct Sink {
    /// The terminal, pipe or file.
    writer: Box<dyn Write + Send>,
    /// Called when it takes nothing any more.
    when_broken: Box<dyn FnMut() + Send>,
}

/// Begins to write to `stdout`, in the form of its reports, and to `stderr`. `when_broken` is
/// called by another thread when stdout has failed: its reader has gone, or the disk is full.
///
/// Both have a thread of their own, unless they are one terminal, pipe or file: what is said to
/// both is then written in the order in which it is said.
pub fn start(
    stdout: &impl AsFd,
    form: Form,
    stderr: &impl AsFd,
    when_broken: impl FnMut() + Send + 'static,
) -> io::Result<(Stream, Stream)> {
    let (stdout, stderr) = (duplicate(stdout)?, duplicate(stderr)?);
    let is_one = is_one_place(&stdout, &stderr).unwrap_or(false);
    let stdout = Sink { writer: Box::new(stdout), when_broken: Box::new(when_broken) };
    // There is nobody left to tell that nobody listens.
    let stderr = Sink { writer: Box::new(stderr), when_broken: Box::new(|| ()) };
    if is_one {
        let queue = Queue::start(vec![stdout, stderr])?;
        let stdout = Stream { queue: Arc::clone(&queue), index: 0, form };
        return Ok((stdout, Stream { queue, index: 1, form: Form::Text }));
    }
    let alone = |sink| Queue::start(vec![sink]);
    let stdout = Stream { queue: alone(stdout)?, index: 0, form };
    Ok((stdout, Stream { queue: alone(stderr)?, index: 0, form: Form::Text }))
}

/// The same file, without a buffer.
fn duplicate(file: &impl AsFd) -> io::Result<File> {
    file.as_fd().try_clone_to_owned().map(File::from)
}

/// Whether what is written to both comes to one place.
fn is_one_place(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// One of the places that a program writes to. Nothing that is said to it waits for a reader.
#[derive(Debug)]
pub struct Stream {
    /// What waits for the thread.
    queue: Arc<Queue>,
    /// Which of the thread's sinks it is.
    index: usize,
    /// What stands where lines are missing.
    form: Form,
}

impl Stream {
    /// Says whole lines of a moment, such as a periodic report. When too much waits for the
    /// reader, they are dropped and counted.
    pub fn live(&self, text: String) {
        let mut state = self.queue.lock();
        if state.n_bytes > 0 && state.n_bytes.saturating_add(text.len()) > QUEUE_BYTES {
            let stream = &mut state.streams[self.index];
            stream.n_dropped = stream.n_dropped.saturating_add(1);
            stream.n_dropped_before = stream.n_dropped_before.saturating_add(1);
            return;
        }
        self.push(&mut state, text);
    }

    /// Says whole lines that are never dropped: what is said once, at the end.
    pub fn last(&self, text: String) {
        self.push(&mut self.queue.lock(), text);
    }

    /// Shows whole lines, each shorter than the terminal is wide, in the place of those that were
    /// shown before; nothing if `text` is empty. They make room for every other line, and are
    /// replaced by the next ones if the terminal does not take them.
    pub fn show(&self, text: String) {
        let mut state = self.queue.lock();
        if state.streams[self.index].error.is_none() {
            state.view = Some((self.index, text));
            self.queue.changed.notify_all();
        }
    }

    /// Lines, or what was said as one, that were dropped so far.
    pub fn n_dropped(&self) -> u64 {
        self.queue.lock().streams[self.index].n_dropped
    }

    /// Why it takes nothing any more.
    pub fn error(&self) -> Option<Arc<io::Error>> {
        self.queue.lock().streams[self.index].error.clone()
    }

    /// Waits until all is written or cannot be, as [`Stream::error`] says; an error when `patience`
    /// is over before.
    pub fn finish(&self, patience: &mut Patience<'_>) -> Result<(), Unread> {
        let least = Instant::now() + LEAST_TIME;
        let mut state = self.queue.lock();
        if state.streams[self.index].n_dropped_before > 0 {
            self.push(&mut state, String::new());
        }
        while state.has(self.index) {
            if patience.is_over() && Instant::now() >= least {
                return Err(Unread);
            }
            let waited = self.queue.changed.wait_timeout(state, LOOK_EVERY);
            state = waited.expect("nobody panics with it").0;
        }
        Ok(())
    }

    /// Puts lines at the end of the queue.
    fn push(&self, state: &mut State, text: String) {
        let stream = &mut state.streams[self.index];
        if stream.error.is_some() {
            return;
        }
        let text = match std::mem::take(&mut stream.n_dropped_before) {
            0 => text,
            n => self.form.after(n, &text),
        };
        state.n_bytes = state.n_bytes.saturating_add(text.len());
        state.texts.push_back((self.index, text));
        self.queue.changed.notify_all();
    }
}

/// How long a program that has nothing else to do waits for its readers: as long as they like,
/// and 1.5 s from when it is told to end.
pub struct Patience<'a> {
    /// Whether it was told to.
    is_told: &'a dyn Fn() -> bool,
    /// When that was first seen.
    told_at: Option<Instant>,
}

impl<'a> Patience<'a> {
    /// With a program that was told to end if `is_told` says so.
    pub fn new(is_told: &'a dyn Fn() -> bool) -> Self {
        Self { is_told, told_at: None }
    }

    /// Whether nothing is waited for any more.
    fn is_over(&mut self) -> bool {
        if self.told_at.is_none() && (self.is_told)() {
            self.told_at = Some(Instant::now());
        }
        self.told_at.is_some_and(|at| at.elapsed() >= LAST_WORDS_TIME)
    }
}

/// What a thread is to write.
#[derive(Debug)]
struct Queue {
    /// All of it.
    state: Mutex<State>,
    /// Something was said, or written.
    changed: Condvar,
}

/// What a queue holds.
#[derive(Debug, Default)]
struct State {
    /// Lines, and to which sink.
    texts: VecDeque<(usize, String)>,
    /// Bytes of them, and of what is being written.
    n_bytes: usize,
    /// The newest view, if it is not shown yet.
    view: Option<(usize, String)>,
    /// The sink that is being written to.
    writing: Option<usize>,
    /// What is known of each sink.
    streams: Vec<StreamState>,
    /// Sinks to which nobody can say anything any more.
    n_left: usize,
}

/// What is known of a sink.
#[derive(Debug, Default)]
struct StreamState {
    /// Lines dropped.
    n_dropped: u64,
    /// Those that the reader was not told of.
    n_dropped_before: u64,
    /// Why it takes nothing any more.
    error: Option<Arc<io::Error>>,
}

impl State {
    /// Whether something of sink `index` is not written yet.
    fn has(&self, index: usize) -> bool {
        self.writing == Some(index)
            || self.view.as_ref().is_some_and(|(of, _)| *of == index)
            || self.texts.iter().any(|(of, _)| *of == index)
    }
}

impl Queue {
    /// Starts the thread that writes to `sinks`. It ends when nobody can say anything any more.
    fn start(sinks: Vec<Sink>) -> io::Result<Arc<Self>> {
        let streams = sinks.iter().map(|_| StreamState::default()).collect();
        let state = Mutex::new(State { streams, ..State::default() });
        let queue = Arc::new(Self { state, changed: Condvar::new() });
        let writer = Writer { queue: Arc::clone(&queue), sinks, shown: None };
        thread::Builder::new()
            .name("output".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run())?;
        Ok(queue)
    }

    /// What it holds.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

/// A thread that writes.
struct Writer {
    /// What is to be written.
    queue: Arc<Queue>,
    /// Where to.
    sinks: Vec<Sink>,
    /// The view that stands on a terminal: its sink, and how many lines it has.
    shown: Option<(usize, usize)>,
}

impl Writer {
    /// Writes whatever is said.
    fn run(mut self) {
        while let Some((index, text, is_view)) = self.next() {
            let written = match self.shown {
                Some((shown, n_lines)) if is_view && shown == index && !text.is_empty() => {
                    self.shown = None;
                    write(&mut self.sinks[index].writer, &over(n_lines, &text))
                }
                _ => {
                    self.erase();
                    write(&mut self.sinks[index].writer, &text)
                }
            };
            if is_view && !text.is_empty() {
                self.shown = Some((index, text.lines().count()));
            }
            self.wrote(index, &text, is_view, written);
        }
    }

    /// Waits for something to write: a view only when there is nothing else.
    fn next(&self) -> Option<(usize, String, bool)> {
        let mut state = self.queue.lock();
        loop {
            let text = state.texts.pop_front().map(|(index, text)| (index, text, false));
            let next = text.or_else(|| state.view.take().map(|(index, text)| (index, text, true)));
            if let Some((index, ..)) = next {
                state.writing = Some(index);
                return next;
            }
            if state.n_left == state.streams.len() {
                return None;
            }
            state = self.queue.changed.wait(state).expect("nobody panics with it");
        }
    }

    /// Removes the view, so that something else can be written.
    fn erase(&mut self) {
        if let Some((index, n_lines)) = self.shown.take() {
            // To the start of its first line, and away with all from there on. If its terminal is
            // gone, that is no fault of what is written next, maybe elsewhere.
            let _ = write(&mut self.sinks[index].writer, &format!("\x1b[{n_lines}F\x1b[J"));
        }
    }

    /// Notes that `text` is written, or that its sink is broken.
    fn wrote(&mut self, index: usize, text: &str, is_view: bool, written: io::Result<()>) {
        let mut state = self.queue.lock();
        state.writing = None;
        if !is_view {
            state.n_bytes -= text.len();
        }
        let Err(error) = written else {
            self.queue.changed.notify_all();
            return;
        };
        // Nothing of what waits for it will be written.
        let State { texts, n_bytes, view, streams, .. } = &mut *state;
        texts.retain(|(of, text)| {
            let is_kept = *of != index;
            *n_bytes -= if is_kept { 0 } else { text.len() };
            is_kept
        });
        view.take_if(|(of, _)| *of == index);
        streams[index].error = Some(Arc::new(error));
        self.queue.changed.notify_all();
        drop(state);
        (self.sinks[index].when_broken)();
    }
}

/// What was said is written all the same, if the process goes on.
impl Drop for Stream {
    fn drop(&mut self) {
        self.queue.lock().n_left += 1;
        self.queue.changed.notify_all();
    }
}

/// `view` in the place of another one of `n_lines`, in one write and without a moment in which
/// nothing is there: each line is written over an old one, and only the rest of that is erased.
fn over(n_lines: usize, view: &str) -> String {
    let mut text = format!("\x1b[{n_lines}F");
    for line in view.lines() {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    text
}

/// Writes all of `text`, however long that takes.
fn write(writer: &mut impl Write, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match writer.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => rest = &rest[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::park_timeout(RETRY_EVERY);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _, pipe};
    use std::sync::mpsc::channel;

    use super::*;

    /// How long anything may take. Reached only when a test fails.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// All that comes out of a pipe until nobody writes to it.
    fn rest(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    /// Streams to two pipes.
    fn two_pipes(form: Form) -> ((Stream, Stream), PipeReader, PipeReader) {
        let ((out, stdout), (err, stderr)) = (pipe().unwrap(), pipe().unwrap());
        (start(&stdout, form, &stderr, || ()).unwrap(), out, err)
    }

    /// Fills the pipe and the queue behind it with numbered lines of 1 KB.
    fn fill(stream: &Stream, line: impl Fn(u64) -> String) -> u64 {
        let mut n = 0;
        while stream.n_dropped() < 7 {
            stream.live(line(n));
            n += 1;
        }
        n
    }

    #[test]
    fn a_reader_that_comes_back_gets_the_number_of_missing_lines_and_the_last_ones() {
        let ((stdout, stderr), out, err) = two_pipes(Form::Text);
        let n = fill(&stdout, |n| format!("{n:01023}\n"));
        stdout.last("the end\n".to_owned());
        stderr.last("said at once\n".to_owned());
        let patience = || Patience::new(&|| false);
        stderr.finish(&mut patience()).expect("one reader does not hold up the other");
        let reader = thread::spawn(|| rest(out));
        stdout.finish(&mut patience()).unwrap();
        drop((stdout, stderr));
        assert_eq!(rest(err), "said at once\n");
        let text = reader.join().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let n_read = lines.len() - 2;
        assert!(n_read * 1024 >= QUEUE_BYTES && (n_read as u64) < n, "{n_read} of {n}");
        assert!(
            (0..n_read).all(|at| lines[at].trim_start_matches('0').parse() == Ok(at) || at == 0)
        );
        let note = "# 7 lines are missing here: nobody read them in time";
        assert_eq!(lines[n_read..], [note, "the end"]);
        assert_eq!(n_read as u64 + 7, n);
    }

    #[test]
    fn an_object_says_how_many_are_missing_before_it() {
        let ((stdout, stderr), out, _err) = two_pipes(Form::Json);
        fill(&stdout, |n| format!("{{\"n\":\"{n:01000}\"}}\n"));
        stdout.last("{\"n\":\"last\"}\n".to_owned());
        drop((stdout, stderr));
        let text = rest(out);
        assert_eq!(text.lines().last(), Some("{\"dropped_reports\":7,\"n\":\"last\"}"));
    }

    #[test]
    fn who_is_told_to_end_does_not_wait_for_a_reader_that_has_stopped() {
        let ((stdout, _stderr), _out, _err) = two_pipes(Form::Text);
        fill(&stdout, |n| format!("{n:01023}\n"));
        stdout.last("the end\n".to_owned());
        let is_told = || true;
        let mut patience = Patience::new(&is_told);
        assert_eq!(stdout.finish(&mut patience), Err(Unread));
    }

    #[test]
    fn a_reader_that_is_gone_is_told_of_at_once() {
        let ((out, stdout), (_err, stderr)) = (pipe().unwrap(), pipe().unwrap());
        let (sender, broken) = channel();
        let when_broken = move || sender.send(()).unwrap();
        let (stdout, _stderr) = start(&stdout, Form::Text, &stderr, when_broken).unwrap();
        drop(out);
        stdout.live("x\n".to_owned());
        broken.recv_timeout(DEADLINE).unwrap();
        assert_eq!(stdout.error().unwrap().kind(), ErrorKind::BrokenPipe);
        stdout.last("y\n".to_owned());
        stdout.finish(&mut Patience::new(&|| false)).expect("nothing waits for it");
    }

    #[test]
    fn a_view_is_drawn_over_the_one_before_and_nothing_of_that_stays() {
        let (out, terminal) = pipe().unwrap();
        let (stdout, stderr) = start(&terminal, Form::Text, &terminal, || ()).unwrap();
        drop(terminal);
        let all = || stderr.finish(&mut Patience::new(&|| false)).unwrap();
        for view in ["one\ntwo\nthree\n", "1\n2\n", ""] {
            stderr.show(view.to_owned());
            all();
        }
        drop((stdout, stderr));
        let expected = "one\ntwo\nthree\n\x1b[3F1\x1b[K\n2\x1b[K\n\x1b[J\x1b[2F\x1b[J";
        assert_eq!(rest(out), expected);
    }

    #[test]
    fn what_is_shown_makes_room_for_lines_and_order_is_kept_on_one_terminal() {
        let (out, terminal) = pipe().unwrap();
        let (stdout, stderr) = start(&terminal, Form::Text, &terminal, || ()).unwrap();
        drop(terminal);
        let all = || stderr.finish(&mut Patience::new(&|| false)).unwrap();
        stderr.show("one\ntwo\n".to_owned());
        all();
        stdout.live("a line\n".to_owned());
        stderr.last("another\n".to_owned());
        all();
        stderr.show("three\n".to_owned());
        all();
        stderr.show(String::new());
        all();
        stdout.last("the end\n".to_owned());
        drop((stdout, stderr));
        let expected = "one\ntwo\n\x1b[2F\x1b[Ja line\nanother\nthree\n\x1b[1F\x1b[Jthe end\n";
        assert_eq!(rest(out), expected);
    }
}
