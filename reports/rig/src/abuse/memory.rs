//! The bars for what strangers can make the server hold.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::figure::Figure;
use super::server::{ControlClient, Launcher, PENDING, Server, count};

/// The most that the server may hold, with whatever clients do.
const MOST_MB: f64 = 128.0;

/// The most that may be left of it when they have gone, and the time to give the rest back.
const LEFT_MB: f64 = 8.0;
const GIVING_BACK: Duration = Duration::from_secs(10);

/// 2,000 connections that never read, logged in as one id and as an id each, and messages of 64 KiB
/// of quotes, which are 393 KB as HTML.
pub(crate) fn backlogs(launcher: &Launcher) -> Result<Vec<Figure>> {
    let n = launcher.n(2_000);
    let message = "\"".repeat(64 * 1024);
    let mut figures = Vec::new();
    for (of, n_ids) in [("of one id", 1), ("of an id each", n)] {
        let server = launcher.start(&[], None)?;
        let before_mb = warm_mb(&server)?;
        let slow = (0..n)
            .map(|number| server.follow(number, 1 + number % n_ids))
            .collect::<Result<Vec<_>>>()?;
        server.wait_for(|stats| stats["connections_parked"] == n)?;
        let mut sender = ControlClient::connect(server.control)?;
        let mut n_queued = 0;
        for _ in 0..2 {
            for id in 1..=n_ids {
                sender.send(id, &message)?;
            }
            n_queued = n_queued.max(count(&server.stats()?, "chunks_queued"));
        }
        let stats = server.stats()?;
        figures
            .push(Figure::info(format!("readers that were slow at a time, {of}"), n_queued as f64));
        for reason in ["slow_reader", "backlog_total"] {
            let n_closed = count(&stats["connections_closed"], reason) as f64;
            figures.push(Figure::info(format!("closed as {reason}, {of}"), n_closed));
        }
        figures.extend(leave(&server, slow, before_mb, of)?);
    }
    Ok(figures)
}

/// 19,000 connections that ask for 1,024 ids each, about 10 MB of requests for each million.
pub(crate) fn ids(launcher: &Launcher) -> Result<Vec<Figure>> {
    const N_EACH: u64 = 1_024;
    let n = launcher.n(19_000);
    let server = launcher.start(&[], None)?;
    let before_mb = warm_mb(&server)?;
    let connect = |number: u64| {
        let mut path = String::new();
        for id in (number * N_EACH..).take(1_024) {
            // Six digits each: more do not fit a request.
            write!(path, "{},", 100_000 + id % 900_000).expect("a string takes all");
        }
        path.pop();
        server.follow(number, path)
    };
    let streams = (0..n).map(connect).collect::<Result<Vec<_>>>()?;
    let (stats, _) = server.wait_for(|stats| {
        count(stats, "connections_accepted") >= n && count(stats, PENDING) == 0
    })?;
    let mut figures = vec![
        Figure::info("ids followed", count(&stats, "logins") as f64),
        Figure::info(
            "connections told that there are too many",
            count(&stats["connections_closed"], "ids_full") as f64,
        ),
    ];
    figures.extend(leave(&server, streams, before_mb, "with ids")?);
    Ok(figures)
}

/// 500 silent connections at a server for 500: those who come later get in at once.
pub(crate) fn crowd(launcher: &Launcher) -> Result<Vec<Figure>> {
    const N_PLACES: u64 = 500;
    let server = launcher.start(&["--max-connections", "500"], None)?;
    let connect = |number| server.connect(number);
    let silent = (0..N_PLACES).map(connect).collect::<Result<Vec<_>>>()?;
    server.wait_for(|stats| count(stats, PENDING) == N_PLACES)?;
    let mut slowest = Duration::ZERO;
    let mut inside = Vec::new();
    for id in 0..launcher.n(100) {
        let begun_at = Instant::now();
        let mut stream = server.follow(0, id + 1)?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).context("a newcomer is not answered")?;
        ensure!(&head == b"HTTP/1.1 200", "there was no room for a newcomer");
        slowest = slowest.max(begun_at.elapsed());
        inside.push(stream);
    }
    // They are counted when they have read why.
    let n_newcomers = inside.len() as u64;
    let (_, told) =
        server.wait_for(|stats| stats["connections_closed"]["crowded_out"] == n_newcomers)?;
    drop((silent, inside));
    Ok(vec![
        Figure::at_most(1.0, "seconds until a newcomer is served, at most", slowest.as_secs_f64()),
        Figure::info("newcomers, and silent ones that had to go", n_newcomers as f64),
        Figure::at_most(5.0, "seconds until these are closed", told.as_secs_f64()),
    ])
}

/// What the server holds before anybody comes, once it has answered one client and one sender: so
/// the program's own pages are not counted as the crowd's.
pub(super) fn warm_mb(server: &Server) -> Result<f64> {
    let client = server.follow(0, 1)?;
    server.wait_for(|stats| stats["connections_parked"] == 1)?;
    ControlClient::connect(server.control)?.send(1, "warm")?;
    drop(client);
    server.wait_for(|stats| stats["connections_open"] == 0)?;
    Ok(server.status("VmRSS:")? / 1_024.0)
}

/// Lets a crowd leave: what the server held at most, and what is left of it.
pub(super) fn leave(
    server: &Server,
    crowd: Vec<TcpStream>,
    before_mb: f64,
    of: &str,
) -> Result<[Figure; 3]> {
    let most_mb = server.status("VmHWM:")? / 1_024.0;
    drop(crowd);
    server.wait_for(|stats| stats["connections_open"] == 0)?;
    let left_at = Instant::now();
    let mut left_mb = f64::INFINITY;
    while left_mb > LEFT_MB && left_at.elapsed() < GIVING_BACK {
        std::thread::sleep(Duration::from_millis(100));
        left_mb = server.status("VmRSS:")? / 1_024.0 - before_mb;
    }
    Ok([
        Figure::info(format!("RSS before, MB, {of}"), before_mb),
        Figure::at_most(MOST_MB, format!("RSS at most, MB, {of}"), most_mb),
        Figure::at_most(LEFT_MB, format!("RSS left over after 10 s at most, MB, {of}"), left_mb),
    ])
}
