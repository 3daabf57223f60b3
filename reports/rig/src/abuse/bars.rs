//! The bars.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::crowd::{Crowd, Received, stamp};
use super::figure::Figure;
use super::server::{ControlClient, Launcher, Server, Transport, count};
use crate::footprint::tcp_buffers_kb_now;

/// When number `number` is due of what happens `per_s` times a second from `begun_at` on.
pub(super) fn due_at(begun_at: Instant, number: u64, per_s: u64) -> Instant {
    begun_at + Duration::from_secs(number) / u32::try_from(per_s).expect("rates are small")
}

/// Sends stamped messages to ids 1 to `n_ids` in turn, `per_s` a second, for some time. Returns how
/// many were sent, and how many connections they reached.
pub(super) fn send_for(
    server: &Server,
    n_ids: u64,
    per_s: u64,
    time: Duration,
    clock: Instant,
) -> Result<(u64, u64)> {
    let mut sender = ControlClient::connect(server.control)?;
    let (begun_at, mut n_sent, mut n_reached) = (Instant::now(), 0, 0);
    while begun_at.elapsed() < time {
        let due_at = due_at(begun_at, n_sent, per_s);
        std::thread::sleep(due_at.saturating_duration_since(Instant::now()));
        n_reached += sender.send(1 + n_sent % n_ids, &stamp(clock))?;
        n_sent += 1;
    }
    Ok((n_sent, n_reached))
}

/// Messages that were sent and not received, or not in order: of `n_reached`.
pub(super) fn n_lost(n_reached: u64, received: &Received) -> f64 {
    (n_reached.abs_diff(received.n_messages) + received.n_out_of_order) as f64
}

/// Closes with a reset.
fn reset(stream: TcpStream) -> Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// What a thread came to: an error of its own, and a panic as it is.
pub(super) fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// 3,000 connects and disconnects a second for 2 minutes beside 5,000 steady connections and 1,000
/// messages a second.
pub(crate) fn churn(launcher: &Launcher) -> Result<Vec<Figure>> {
    const PER_S: u64 = 3_000;
    let (clock, n_steady) = (Instant::now(), launcher.n(5_000));
    let server = launcher.start(&[], None)?;
    let crowd = Crowd::follow(&server, n_steady, clock)?;
    // What a first round of churn and messages leaves behind is the base.
    let round = |time| {
        let n_churned = AtomicU64::new(0);
        let sent = std::thread::scope(|scope| {
            let churn = || churn_for(&server, &n_churned, n_steady, PER_S, time);
            let halves = [scope.spawn(churn), scope.spawn(churn)];
            let sent = send_for(&server, n_steady, 1_000, time, clock)?;
            halves.into_iter().try_for_each(joined)?;
            anyhow::Ok(sent)
        })?;
        server.wait_for(|stats| stats["connections_open"] == n_steady)?;
        anyhow::Ok((sent, n_churned.into_inner()))
    };
    let ((mut n_sent, mut n_reached), _) = round(Duration::from_secs(2))?;
    let (base_kb, n_descriptors) = (server.status("VmRSS:")?, server.n_descriptors()?);
    let time = launcher.time(120);
    let (sent, n_churned) = round(time)?;
    (n_sent, n_reached) = (n_sent + sent.0, n_reached + sent.1);
    let stats = server.stats()?;
    let (rss_kb, n_descriptors_after) = (server.status("VmRSS:")?, server.n_descriptors()?);
    let received = crowd.finish()?;
    Ok(vec![
        Figure::info("connects and disconnects a second", n_churned as f64 / time.as_secs_f64()),
        Figure::info("messages", n_sent as f64),
        Figure::at_most(0.0, "ids left over", count(&stats, "ids") as f64 - n_steady as f64),
        Figure::at_most(0.0, "descriptors left over", n_descriptors_after - n_descriptors),
        Figure::info("RSS before, KB", base_kb),
        Figure::at_most(10.0, "RSS after, % more", (rss_kb / base_kb - 1.0) * 100.0),
        Figure::at_most(0.0, "messages lost on steady connections", n_lost(n_reached, &received)),
        Figure::at_most(
            0.0,
            "messages to steady connections in the void",
            (n_sent - n_reached) as f64,
        ),
    ])
}

/// Half of the churn: connects at a steady rate, is logged in, and leaves, by an end or a reset.
fn churn_for(
    server: &Server,
    n_churned: &AtomicU64,
    n_steady: u64,
    per_s: u64,
    time: Duration,
) -> Result<()> {
    let begun_at = Instant::now();
    let mut number = 0;
    while begun_at.elapsed() < time {
        let due_at = due_at(begun_at, 2 * number, per_s);
        std::thread::sleep(due_at.saturating_duration_since(Instant::now()));
        let mut stream = server.follow(number, n_steady + 1 + number % 1_000)?;
        std::io::Read::read(&mut stream, &mut [0; 64]).context("a login is not answered")?;
        if number % 2 == 0 {
            reset(stream)?;
        }
        number += 1;
        n_churned.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// 1,000 of 10,000 never read; messages of 4 KiB until each of them was sent 1 MiB.
pub(crate) fn slow(launcher: &Launcher) -> Result<Vec<Figure>> {
    const SLOW_ID: u64 = 1 << 40;
    let (clock, n_slow, n_good) = (Instant::now(), launcher.n(1_000), launcher.n(9_000));
    let server = launcher.start(&[], None)?;
    let crowd = Crowd::follow(&server, n_good, clock)?;
    let round = || {
        let is_over = AtomicBool::new(false);
        let slow = |number| server.follow(number, SLOW_ID);
        let streams = (0..n_slow).map(slow).collect::<Result<Vec<_>>>()?;
        server.wait_for(|stats| stats["connections_parked"] == n_good + n_slow)?;
        let kernel_kb = kernel_tcp_kb()?;
        let (sent, highest_kb) = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = (0, 0);
                while !is_over.load(Ordering::Relaxed) {
                    let half_a_second = Duration::from_millis(500);
                    let more = send_for(&server, n_good, 1_000, half_a_second, clock)?;
                    sent = (sent.0 + more.0, sent.1 + more.1);
                }
                anyhow::Ok(sent)
            });
            let highest_kb = send_to_slow(&server, SLOW_ID, kernel_kb);
            // Before any error is looked at: the scope waits for the sender.
            is_over.store(true, Ordering::Relaxed);
            anyhow::Ok((joined(sender)?, highest_kb?))
        })?;
        drop(streams);
        anyhow::Ok((sent, highest_kb))
    };
    // What a first round leaves in the heap is the base.
    let (first, _) = round()?;
    server.wait_for(|stats| stats["connections_parked"] == n_good)?;
    let base_kb = server.status("RssAnon:")?;
    let (second, highest_kb) = round()?;
    let (stats, _) = server.wait_for(|stats| stats["connections_parked"] == n_good)?;
    let after_kb = server.status("RssAnon:")?;
    let received = crowd.finish()?;
    let n_reached = first.1 + second.1;
    let n_closed = count(&stats["connections_closed"], "slow_reader");
    Ok(vec![
        Figure::at_most(
            0.0,
            "slow readers not closed as such",
            (2 * n_slow).abs_diff(n_closed) as f64,
        ),
        Figure::at_most(
            300.0,
            "kernel TCP memory of one meanwhile, KB",
            highest_kb / n_slow as f64,
        ),
        Figure::info("heap before (after a first round), KB", base_kb),
        Figure::at_most(5.0, "heap afterwards, % more", (after_kb / base_kb - 1.0) * 100.0),
        Figure::info("messages to the others", received.n_messages as f64),
        Figure::at_most(0.0, "of these lost", n_lost(n_reached, &received)),
    ])
}

/// Sends 1 MiB to each connection of `id` in messages of 4 KiB. Returns by how much the kernel's
/// memory for TCP was above `base_kb` at most meanwhile, in KB.
fn send_to_slow(server: &Server, id: u64, base_kb: f64) -> Result<f64> {
    let message = "x".repeat(4_096);
    let mut sender = ControlClient::connect(server.control)?;
    let mut highest_kb = 0.0_f64;
    for _ in 0..256 {
        sender.send(id, &message)?;
        highest_kb = highest_kb.max(kernel_tcp_kb()? - base_kb);
    }
    Ok(highest_kb)
}

/// Memory that the kernel has given to all TCP sockets of the machine, in KB.
fn kernel_tcp_kb() -> Result<f64> {
    Ok(tcp_buffers_kb_now().context("the kernel does not say what TCP buffers take")? as f64)
}

/// RST of 10,000 connections within a second, and of 10,000 WebSockets.
pub(crate) fn resets(launcher: &Launcher) -> Result<Vec<Figure>> {
    let n = launcher.n(10_000);
    let mut figures = Vec::new();
    for (transport, of) in Transport::BOTH {
        let server = launcher.start(&[], None)?;
        let follow = |id| server.follow_by(transport, id, id);
        let streams = (1..=n).map(follow).collect::<Result<Vec<_>>>()?;
        server.wait_for(|stats| stats["connections_parked"] == n)?;
        let begun_at = Instant::now();
        streams.into_iter().try_for_each(reset)?;
        let resetting = begun_at.elapsed();
        let (stats, after) = server.wait_for(|stats| stats["ids"] == 0)?;
        let not_counted = |group, name| n.abs_diff(count(&stats[group], name)) as f64;
        let at_most = |bar, what, value| Figure::at_most(bar, format!("{what}, {of}"), value);
        figures.extend([
            at_most(1.0, "seconds of resetting", resetting.as_secs_f64()),
            at_most(2.0, "seconds from the last reset to an empty index", after.as_secs_f64()),
            at_most(0.0, "not counted as reset", not_counted("connections_closed", "reset")),
        ]);
        if transport == Transport::WebSocket {
            let value = not_counted("close_codes", "1006");
            figures.push(at_most(0.0, "not counted as 1006", value));
        }
    }
    Ok(figures)
}

/// 1,000 clients at 256 descriptors; and descriptors that run out all the same.
pub(crate) fn descriptors(launcher: &Launcher) -> Result<Vec<Figure>> {
    let clock = Instant::now();
    let server = launcher.start(&[], Some(256))?;
    let n_served = 128;
    let crowd = Crowd::follow(&server, n_served, clock)?;
    let mut figures = Vec::new();
    let follow = |number| server.follow(number, 1);
    let refused = (n_served..1_000).map(follow).collect::<Result<Vec<_>>>()?;
    let (stats, _) =
        server.wait_for(|stats| stats["connections_closed"]["full"] == 1_000 - n_served)?;
    figures.push(Figure::info(
        "clients told that it is full",
        count(&stats["connections_closed"], "full") as f64,
    ));
    drop(refused);

    // Now for good: the limit is below what is open, and nobody can be told.
    server.exhaust_descriptors()?;
    let left = server.follow(0, 1)?;
    let wait = |_| server.follow(0, 1_u64 << 40);
    let waiting = (0..launcher.n(500)).map(wait).collect::<Result<Vec<_>>>()?;
    server.wait_for(|stats| stats["accepting"] == false)?;
    let (cpu_s, begun_at) = (server.cpu_s()?, Instant::now());
    std::thread::sleep(launcher.time(10));
    let cpu = (server.cpu_s()? - cpu_s) / begun_at.elapsed().as_secs_f64();
    figures.push(Figure::at_most(5.0, "CPU of a core while nobody gets in, %", cpu * 100.0));
    let sent = send_for(&server, n_served, 1_000, launcher.time(10), clock)?;
    let health = ControlClient::connect(server.control)?.ask("GET", "/healthz", "")?;
    let is_told = health.contains("no connections are accepted");
    figures.push(Figure::at_most(
        0.0,
        "new senders that are not answered",
        f64::from(u8::from(!is_told)),
    ));
    server.limit_descriptors(256)?;
    let (_, resumed) = server.wait_for(|stats| stats["accepting"] == true)?;
    figures.push(Figure::at_most(1.0, "seconds until it accepts again", resumed.as_secs_f64()));
    let received = crowd.finish()?;
    figures.push(Figure::at_most(0.0, "messages lost by those served", n_lost(sent.1, &received)));
    drop((left, waiting));
    Ok(figures)
}

/// 5,000 heads that never finish beside good clients.
pub(crate) fn half_open(launcher: &Launcher) -> Result<Vec<Figure>> {
    let (clock, n_good, n_half_open) = (Instant::now(), launcher.n(1_000), launcher.n(5_000));
    let server = launcher.start(&[], None)?;
    let time = Duration::from_secs(15);
    let measure = |n_half_open| {
        let crowd = Crowd::follow(&server, n_good, clock)?;
        let begin = |number| {
            let mut stream = server.connect(number)?;
            stream.write_all(b"GET /test/1 HTTP/1.1\r\nHost: x\r\n")?;
            anyhow::Ok(stream)
        };
        let half_open = (0..n_half_open).map(begin).collect::<Result<Vec<_>>>()?;
        // The deadline of the half-open ones is in the middle of this.
        let sent = send_for(&server, n_good, 1_000, time, clock)?;
        let received = crowd.finish()?;
        server.wait_for(|stats| stats["connections_open"] == 0)?;
        drop(half_open);
        anyhow::Ok((n_lost(sent.1, &received), received))
    };
    let (_, mut without) = measure(0)?;
    let (lost, mut with) = measure(n_half_open)?;
    let stats = server.stats()?;
    let n_told = count(&stats["connections_closed"], "head_timeout");
    let [p99_without, p99_with] = [&mut without, &mut with].map(|one| one.latency_ms(0.99));
    Ok(vec![
        Figure::at_most(
            0.0,
            "half-open heads not closed by the deadline",
            n_half_open.abs_diff(n_told) as f64,
        ),
        Figure::info("p50 delivery latency without them, ms", without.latency_ms(0.5)),
        Figure::info("p50 delivery latency with them, ms", with.latency_ms(0.5)),
        Figure::info("p99 delivery latency without them, ms", p99_without),
        Figure::info("p99 delivery latency with them, ms", p99_with),
        Figure::at_most(2.0, "p99, times that without them", p99_with / p99_without),
        Figure::at_most(0.0, "messages lost by good clients", lost),
    ])
}

/// SIGTERM with 10,000 connections, and with 10,000 WebSockets.
pub(crate) fn drain(launcher: &Launcher) -> Result<Vec<Figure>> {
    let (clock, n) = (Instant::now(), launcher.n(10_000));
    let mut figures = Vec::new();
    for (transport, of) in Transport::BOTH {
        let mut server = launcher.start(&[], None)?;
        let crowd = Crowd::follow_by(&server, transport, n, clock)?;
        let (_, n_reached) = send_for(&server, n, 1_000, launcher.time(5), clock)?;
        server.terminate()?;
        let (status, took) = server.wait()?;
        let received = crowd.finish()?;
        let last = match transport {
            Transport::Chunks => "connections without a last chunk",
            Transport::WebSocket => "connections without close 1001",
        };
        let at_most = |bar, what, value| Figure::at_most(bar, format!("{what}, {of}"), value);
        figures.extend([
            // The grace is 5 s: nobody here needs it.
            at_most(2.0, "seconds from SIGTERM to the end", took.as_secs_f64()),
            at_most(0.0, "exit code, or 255 for a signal", status.code().unwrap_or(255).into()),
            at_most(0.0, "connections reset or cut", received.n_cut as f64),
            at_most(0.0, last, (n - received.n_ended) as f64),
            at_most(0.0, "messages lost", n_lost(n_reached, &received)),
        ]);
    }
    Ok(figures)
}

/// What an idle connection costs, and messages flat out; in turns with another server.
pub(crate) fn cost(launcher: &Launcher, base: Option<&Launcher>) -> Result<Vec<Figure>> {
    const N_TURNS: usize = 5;
    let mut figures = Vec::new();
    let both: Vec<_> =
        [("this", launcher)].into_iter().chain(base.map(|base| ("base", base))).collect();
    let mut medians = Vec::new();
    let mut measured: Vec<Vec<[f64; 4]>> = Vec::new();
    let mut of_websockets = Vec::new();
    for _ in 0..N_TURNS {
        measured.push(both.iter().map(|(_, launcher)| cost_once(launcher)).collect::<Result<_>>()?);
        // A base may be older than WebSockets.
        of_websockets.push(idle_bytes(launcher, Transport::WebSocket)?);
    }
    for (which, (name, _)) in both.iter().enumerate() {
        let median = |column: usize| {
            let mut values: Vec<_> = measured.iter().map(|turn| turn[which][column]).collect();
            values.sort_by(f64::total_cmp);
            values[N_TURNS / 2]
        };
        let what = [
            "anonymous bytes of an idle connection",
            "logins a CPU second of the server",
            "messages/s, one a request",
            "messages/s, lines",
        ];
        for (column, what) in what.into_iter().enumerate() {
            figures.push(Figure::info(format!("{what}, {name}"), median(column)));
        }
        medians.push([0, 1, 2, 3].map(median));
    }
    of_websockets.sort_by(f64::total_cmp);
    let of_websocket = of_websockets[N_TURNS / 2];
    figures.push(Figure::info("anonymous bytes of an idle WebSocket, this", of_websocket));
    let more = of_websocket - medians[0][0];
    figures.push(Figure::at_most(2.0, "bytes of it beyond those of a chunked connection", more));
    if let [this, base] = medians[..] {
        figures.push(Figure::at_most(1.02, "bytes, times those of base", this[0] / base[0]));
        for (column, what) in
            [(1, "CPU for logins"), (2, "time for one a request"), (3, "time for lines")]
        {
            let what = format!("{what}, times that of base");
            figures.push(Figure::at_most(1.05, what, base[column] / this[column]));
        }
    }
    Ok(figures)
}

/// Anonymous bytes of an idle connection (RSS has the pages of the program as well, as they come to
/// be used); logins a CPU second of the server, since the time they take is
/// mostly the kernel's; messages one a request and lines, a second.
fn cost_once(launcher: &Launcher) -> Result<[f64; 4]> {
    let (clock, n) = (Instant::now(), launcher.n(10_000));
    let server = launcher.start(&[], None)?;
    let empty_kb = server.status("RssAnon:")?;
    let cpu_s = server.cpu_s()?;
    let crowd = Crowd::follow(&server, n, clock)?;
    let logins = n as f64 / (server.cpu_s()? - cpu_s);
    let bytes = (server.status("RssAnon:")? - empty_kb) * 1_024.0 / n as f64;
    let time = launcher.time(10);
    let flat_out = |batch: u64| {
        let begun_at = Instant::now();
        let n_sent = std::thread::scope(|scope| {
            let (server, end) = (&server, begun_at + time);
            let flood = |first| scope.spawn(move || flood(server, batch, (first, n), end, clock));
            let threads: Vec<_> = (0..8).map(flood).collect();
            threads.into_iter().map(joined).sum::<Result<u64>>()
        });
        n_sent.map(|n_sent| n_sent as f64 / begun_at.elapsed().as_secs_f64())
    };
    let figures = [bytes, logins, flat_out(1)?, flat_out(100)?];
    crowd.finish()?;
    Ok(figures)
}

/// Anonymous bytes of an idle connection of some transport.
fn idle_bytes(launcher: &Launcher, transport: Transport) -> Result<f64> {
    let n = launcher.n(10_000);
    let server = launcher.start(&[], None)?;
    let empty_kb = server.status("RssAnon:")?;
    Crowd::follow_by(&server, transport, n, Instant::now())?;
    Ok((server.status("RssAnon:")? - empty_kb) * 1_024.0 / n as f64)
}

/// Sends as fast as it is answered until `end`, `batch` messages a request, to every eighth of `n`
/// ids from `first` on. Returns how many.
fn flood(
    server: &Server,
    batch: u64,
    (first, n): (u64, u64),
    end: Instant,
    clock: Instant,
) -> Result<u64> {
    let mut sender = ControlClient::connect(server.control)?;
    let (mut id, mut n_sent) = (first, 0);
    let mut next = || {
        id = (id + 8) % n;
        id + 1
    };
    while Instant::now() < end {
        if batch == 1 {
            sender.send(next(), &stamp(clock))?;
        } else {
            let line = |_| format!("{{\"id\":{},\"msg\":\"{}\"}}\n", next(), stamp(clock));
            sender.ask("POST", "/send", &(0..batch).map(line).collect::<String>())?;
        }
        n_sent += batch;
    }
    Ok(n_sent)
}

/// The network dies without a word: no end and no reset ever comes. In a network of its own, whose
/// loopback this shuts.
pub(crate) fn silence(launcher: &Launcher) -> Result<Vec<Figure>> {
    let ip = |state: &str| {
        let status = std::process::Command::new("ip").args(["link", "set", "lo", state]).status();
        let is_set = status.is_ok_and(|status| status.success());
        ensure!(is_set, "cannot set loopback {state}; run this bar with `unshare --net`");
        Ok(())
    };
    ip("up")?;
    let server = launcher.start(&["--ping", "20s"], None)?;
    let mut events = server.connect(0)?;
    let request = "GET /test/1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
    events.write_all(request.as_bytes())?;
    let idle = server.follow(0, 2)?;
    server.wait_for(|stats| stats["connections_parked"] == 2)?;
    // Nobody hears anything from here on; the peers would say so if they were asked.
    ip("down")?;
    drop((events, idle));
    std::thread::sleep(Duration::from_mins(4));
    ip("up")?;
    let stats = server.stats()?;
    Ok(vec![
        Figure::at_most(
            0.0,
            "dead peers still open after 240 s",
            count(&stats, "connections_parked") as f64,
        ),
        Figure::at_most(
            0.0,
            "not closed as timed out",
            2_u64.abs_diff(count(&stats["connections_closed"], "timed_out")) as f64,
        ),
    ])
}
