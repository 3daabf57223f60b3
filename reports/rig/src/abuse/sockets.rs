//! The bars for what clients of WebSockets can say, or leave unsaid.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::bars::{due_at, joined, n_lost, send_for};
use super::crowd::{Crowd, Received};
use super::figure::Figure;
use super::memory::{leave, warm_mb};
use super::server::{ControlClient, Launcher, Server, Transport, count};

/// An id that no good client follows.
const BAD_ID: u64 = 1 << 40;

/// Bytes that a WebSocket in mid-frame may make the server keep, beside its row: 64 for where it is
/// and 125 of a control frame, by ARCHITECTURE.md, and somewhat more than as much again for what
/// holds them: the boxes, the table that leads to them at half of its load, the allocator's share.
const MOST_KEPT_BYTES: f64 = 512.0;

/// By how much a second crowd may make the server larger than a first one did: 50 bytes for each of
/// 10,000. What a crowd leaves behind says less: the allocator keeps some or most of it for the
/// next one, as it lies. A leak is there twice.
const MORE_KB: f64 = 512.0;

/// The most that may be left when both have gone, as in other bars, and the time to give the rest
/// back.
const LEFT_KB: f64 = 8.0 * 1_024.0;
const GIVING_BACK: Duration = Duration::from_secs(10);

/// What is cut before its last byte, or within a character.
const HALVES: [(&str, &[u8]); 3] = [
    ("half a ping", PING.split_at(PING.len() - 1).0),
    ("half a header", &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
    ("half a text", &[0x01, 0x82, 0, 0, 0, 0, 0xe2, 0x82]),
];

/// 10,000 WebSockets that send half of something, and nothing more.
pub(crate) fn half_frames(launcher: &Launcher) -> Result<Vec<Figure>> {
    let n = launcher.n(10_000);
    let mut figures = Vec::new();
    for (what, half) in HALVES {
        // A server for each: in memory that another crowd has left, none would be seen to be taken.
        let server = launcher.start(&[], None)?;
        warm_mb(&server)?;
        let ([bytes, _], left) = twice(&server, what, || {
            let mut crowd = open(&server, n, None)?;
            let idle_kb = anonymous_kb(&server)?;
            for stream in &mut crowd {
                stream.write_all(half).context("half a frame is not taken")?;
            }
            wait_until_heard(&server)?;
            let bytes = bytes_each(anonymous_kb(&server)? - idle_kb, n);
            drop(crowd);
            server.wait_for(|stats| stats["connections_open"] == 0)?;
            Ok(bytes)
        })?;
        let n_counted = count(&server.stats()?["close_codes"], "1006");
        figures.extend([
            Figure::at_most(MOST_KEPT_BYTES, format!("bytes beside an idle one, {what}"), bytes),
            not_counted(2 * n, n_counted, &format!("1006, {what}")),
        ]);
        figures.extend(left);
    }
    Ok(figures)
}

/// What breaks the RFC or says goodbye; the group of counts and the name that it is counted under,
/// and the code that it is answered.
const ENDS: [(&[u8], &str, &str, u16); 6] = [
    // No mask; a length with its highest bit; a text that is a byte of no character; a frame of
    // 2⁶² bytes; goodbyes with and without a code.
    (&[0x81, 1, b'x'], CLOSED, "bad_frame", 1_002),
    (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], CLOSED, "bad_frame", 1_002),
    (&[0x81, 0x81, 0, 0, 0, 0, 0xff], CLOSED, "bad_text", 1_007),
    (&[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0], CLOSED, "frame_too_large", 1_009),
    (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8], "close_codes", "1000", 1_000),
    (&[0x88, 0x80, 0, 0, 0, 0], "close_codes", "1005", 0),
];
const CLOSED: &str = "connections_closed";

/// 10,000 WebSockets of which each breaks the RFC, or says goodbye: each is told so, and counted
/// under its name.
pub(crate) fn bad_frames(launcher: &Launcher) -> Result<Vec<Figure>> {
    let n_each = launcher.n(10_000).div_ceil(ENDS.len() as u64);
    let server = launcher.start(&[], None)?;
    warm_mb(&server)?;
    let before = server.stats()?;
    let (n_untold, left) = twice(&server, "bad frames", || {
        let mut n_untold = 0;
        for (bytes, _, _, code) in ENDS {
            let mut crowd = open(&server, n_each, None)?;
            for stream in &mut crowd {
                stream.write_all(bytes).context("a frame is not taken")?;
            }
            n_untold +=
                crowd.into_iter().filter_map(|it| (!is_told(it, code)).then_some(())).count();
        }
        server.wait_for(|stats| stats["connections_open"] == 0)?;
        Ok(n_untold)
    })?;
    let stats = server.stats()?;
    let n_untold = n_untold.iter().sum::<usize>() as f64;
    let mut figures = vec![Figure::at_most(0.0, "not answered by their code", n_untold)];
    let names = ENDS.iter().map(|&(_, group, name, _)| (group, name));
    for (group, name) in names.clone().collect::<BTreeSet<_>>() {
        let n_kinds = names.clone().filter(|&it| it == (group, name)).count() as u64;
        let n_counted = count(&stats[group], name) - count(&before[group], name);
        figures.push(not_counted(2 * n_each * n_kinds, n_counted, name));
    }
    figures.extend(left);
    Ok(figures)
}

/// Whether a WebSocket is closed in order, with this code; 0 for a close frame without one.
fn is_told(mut stream: TcpStream, code: u16) -> bool {
    let mut answer = Vec::new();
    let is_ended = stream.read_to_end(&mut answer).is_ok();
    let told = answer.get(2..4).map_or(0, |told| u16::from_be_bytes([told[0], told[1]]));
    is_ended && answer.first() == Some(&0x88) && told == code
}

/// 10,000 WebSockets that ask for 64 KB of pongs at once and never read. Then 1,000 that ping and
/// never read, 50,000 pings a second, beside good clients: as much as they are allowed; then half
/// of them more, and messages for the others.
pub(crate) fn pings(launcher: &Launcher) -> Result<Vec<Figure>> {
    let (clock, n, n_good) = (Instant::now(), launcher.n(1_000), launcher.n(500));
    let mut figures = bursts(launcher)?;
    let server = launcher.start(&[], None)?;
    let measure = |n: u64| {
        let good = |(transport, _)| Crowd::follow_by(&server, transport, n_good, clock);
        let good = Transport::BOTH.into_iter().map(good).collect::<Result<Vec<_>>>()?;
        let (sent, bytes) = std::thread::scope(|scope| {
            let flood = scope.spawn(|| flood(&server, n));
            let sent = send_for(&server, n_good, 1_000, launcher.time(12), clock);
            anyhow::Ok((sent?, joined(flood)?))
        })?;
        let received = good.into_iter().map(Crowd::finish).collect::<Result<Vec<_>>>()?;
        let received = received.into_iter().fold(Received::default(), Received::and);
        server.wait_for(|stats| stats["connections_open"] == 0)?;
        anyhow::Ok((n_lost(sent.1, &received), received, bytes))
    };
    let (_, mut without, _) = measure(0)?;
    let ([(lost, mut with, bytes), (lost_again, ..)], left) =
        twice(&server, "pings", || measure(n))?;
    let closed = &server.stats()?["connections_closed"];
    // What waits of the pongs of one write is written to its end, as the first of them is cut.
    let most_bytes = MOST_KEPT_BYTES + (N_PINGS * PONG_BYTES) as f64;
    figures.extend([
        Figure::at_most(most_bytes, "bytes beside an idle one, within the limit", bytes),
        not_counted(2 * n.div_ceil(2), count(closed, "chatty"), "chatty"),
        not_counted(2 * (n / 2), count(closed, "slow_reader"), "slow_reader"),
        Figure::info("p50 delivery latency without them, ms", without.latency_ms(0.5)),
        Figure::info("p50 delivery latency with them, ms", with.latency_ms(0.5)),
        Figure::info("p99 delivery latency without them, ms", without.latency_ms(0.99)),
        Figure::at_most(MOST_LATE_MS, "p99 delivery latency with them, ms", with.latency_ms(0.99)),
        Figure::at_most(0.0, "messages lost by good clients", lost + lost_again),
    ]);
    figures.extend(left);
    Ok(figures)
}

/// How late one message in a hundred may be while others flood: as late as the next picture on a
/// screen. A server that did for one peer all that it asks would be seconds late.
const MOST_LATE_MS: f64 = 20.0;

/// The longest ping, and how many bytes it and its pong are.
const PING: [u8; 131] = {
    let mut ping = [0; 131];
    // The mask bit, and 125.
    (ping[0], ping[1]) = (0x89, 0xfd);
    ping
};
const PONG_BYTES: usize = 127;

/// Pings written at a time in a flood.
const N_PINGS: usize = 31;

/// Room for what they do not read in the kernel: 500 pongs are more than that.
const ROOM_BYTES: usize = 4_096;

/// As many pings as are allowed in an hour, at once, from more than all backlogs have room for.
fn bursts(launcher: &Launcher) -> Result<Vec<Figure>> {
    let server = launcher.start(&[], None)?;
    let before_mb = warm_mb(&server)?;
    let mut crowd = open(&server, launcher.n(10_000), Some(ROOM_BYTES))?;
    for stream in &mut crowd {
        stream.write_all(&PING.repeat(500)).context("pings are not taken")?;
    }
    wait_until_heard(&server)?;
    let stats = server.stats()?;
    let n_closed = count(&stats["connections_closed"], "backlog_total");
    let mut figures = vec![
        Figure::info("closed as backlog_total, of bursts", n_closed as f64),
        Figure::info("MB of backlogs, of bursts", count(&stats, "backlog_bytes") as f64 / 1e6),
    ];
    figures.extend(leave(&server, crowd, before_mb, "of bursts")?);
    Ok(figures)
}

/// `n` WebSockets flood. Returns the bytes that the server keeps of one that is within what it is
/// allowed, beside an idle one.
fn flood(server: &Server, n: u64) -> Result<f64> {
    /// So often [`N_PINGS`] are within the 64 KiB that are allowed in an hour.
    const N_ALLOWED: u64 = 16;
    /// Writes a second.
    const PER_S: u64 = 1_600;
    let pings = PING.repeat(N_PINGS);
    let mut crowd = open(server, n, Some(ROOM_BYTES))?;
    let idle_kb = anonymous_kb(server)?;
    let begun_at = Instant::now();
    for number in 0..N_ALLOWED {
        for (at, stream) in (0..).zip(&mut crowd) {
            let due_at = due_at(begun_at, number * n + at, PER_S);
            std::thread::sleep(due_at.saturating_duration_since(Instant::now()));
            stream.write_all(&pings).context("pings are not taken")?;
        }
    }
    wait_until_heard(server)?;
    let bytes = bytes_each(anonymous_kb(server)? - idle_kb, n.max(1));
    for stream in crowd.iter_mut().step_by(2) {
        stream.write_all(&pings).context("pings are not taken")?;
    }
    // Before the messages: those that are over their limit are closed for that.
    wait_until_heard(server)?;
    // The others are behind with what the kernel and a backlog hold, and some more.
    let mut sender = ControlClient::connect(server.control)?;
    let message = "x".repeat(4_096);
    for _ in 0..64 {
        sender.send(BAD_ID, &message)?;
    }
    Ok(bytes)
}

/// 10,000 WebSockets that answer no ping, beside some that do.
pub(crate) fn unanswered(launcher: &Launcher) -> Result<Vec<Figure>> {
    const EVERY_S: f64 = 2.0;
    let (clock, n, n_good) = (Instant::now(), launcher.n(10_000), launcher.n(100));
    let server = launcher.start(&["--ping", &format!("{EVERY_S}s")], None)?;
    warm_mb(&server)?;
    let good = Crowd::follow_by(&server, Transport::WebSocket, n_good, clock)?;
    let (took, left) = twice(&server, "silence", || {
        let silent = open(&server, n, None)?;
        let (_, took) = server.wait_for(|stats| stats["connections_open"] == n_good)?;
        drop(silent);
        Ok(took.as_secs_f64())
    })?;
    let (_, n_reached) = send_for(&server, n_good, 1_000, launcher.time(5), clock)?;
    let n_counted = count(&server.stats()?["connections_closed"], "timed_out");
    let received = good.finish()?;
    let mut figures = vec![
        // The third ping after the login is not sent any more; one time more for late sweeps.
        Figure::at_most(4.0 * EVERY_S, "seconds until all are closed", took[0].max(took[1])),
        not_counted(2 * n, n_counted, "timed_out"),
        Figure::info("messages to those that answer", received.n_messages as f64),
        Figure::at_most(0.0, "of these lost", n_lost(n_reached, &received)),
    ];
    figures.extend(left);
    Ok(figures)
}

/// Opens `n` WebSockets that read nothing after the head, and waits until all are logged in.
fn open(server: &Server, n: u64, room_bytes: Option<usize>) -> Result<Vec<TcpStream>> {
    (0..n).map(|number| server.websocket(number, BAD_ID, room_bytes)).collect()
}

/// Waits until the server has heard what was written before: the kernel tells it of sockets in the
/// order in which something came, and this one is answered, and leaves with a goodbye.
fn wait_until_heard(server: &Server) -> Result<()> {
    let mut last = server.websocket(0, BAD_ID + 1, None)?;
    last.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])?;
    let n_bytes = last.read_to_end(&mut Vec::new()).context("a goodbye is not answered")?;
    ensure!(n_bytes == 4, "a goodbye is answered by something else");
    Ok(())
}

/// KB for all of `n` as bytes for each.
fn bytes_each(kb: f64, n: u64) -> f64 {
    kb * 1_024.0 / n as f64
}

/// What the server has allocated, in KB: RSS has the pages of the program as well.
fn anonymous_kb(server: &Server) -> Result<f64> {
    server.status("RssAnon:")
}

/// How many of `n` are not counted under a name, or too many.
fn not_counted(n: u64, n_counted: u64, name: &str) -> Figure {
    Figure::at_most(0.0, format!("not counted as {name}"), n.abs_diff(n_counted) as f64)
}

/// Lets a crowd come and go twice. Returns what each round came to, and what they left behind.
fn twice<T>(
    server: &Server,
    of: &str,
    mut round: impl FnMut() -> Result<T>,
) -> Result<([T; 2], [Figure; 2])> {
    let before_kb = anonymous_kb(server)?;
    let first = round()?;
    let most_kb = server.status("VmHWM:")?;
    let second = round()?;
    let more_kb = server.status("VmHWM:")? - most_kb;
    let left_at = Instant::now();
    let mut left_kb = anonymous_kb(server)? - before_kb;
    while left_kb > LEFT_KB && left_at.elapsed() < GIVING_BACK {
        std::thread::sleep(Duration::from_millis(100));
        left_kb = anonymous_kb(server)? - before_kb;
    }
    let figures = [
        Figure::at_most(MORE_KB, format!("KB more at most by a second crowd, {of}"), more_kb),
        Figure::at_most(LEFT_KB, format!("KB left over after 10 s at most, {of}"), left_kb),
    ];
    Ok(([first, second], figures))
}
