//! A run folder as the rig leaves it, made without running anything.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use reports::books::{ByReason, FloodReport, ItemKind, JudgedBy, SendReport, ServerStats};
use reports::latency::Latency;
use reports::latency_log;
use reports::memory_log::{Mark, Sample};
use reports::run::files::{self, marks};
use reports::run::{Command, Exit, Exits, Footprint, Footprints, Host, Plan};

/// When the first sample is taken, in seconds since the Unix epoch.
pub(crate) const FIRST_UNIX_S: u64 = 1_795_357_226;

/// Seconds from the first sample to the first connect.
const NOBODY_S: u64 = 3;

/// Seconds that everybody is connected before the first message, and again after the last one.
const IDLE_S: u64 = 3;

/// What the fixture's server holds of memory: with nobody, and for all connections.
pub(crate) const EMPTY_KB: u64 = 3_496;
pub(crate) const IDLE_KB: u64 = 4_092;

/// A run to make up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixture {
    /// Connections, 1,000 opened a second.
    pub(crate) connections: u64,
    /// Messages sent a second.
    pub(crate) per_second: u64,
    /// For how long they are sent.
    pub(crate) sending_s: u64,
}

/// Numbers that look random and are the same every time.
struct Noise(u64);

impl Noise {
    /// The next number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % end
    }

    /// A delay as it is seen on a quiet machine: mostly alike, rarely much longer.
    fn delay_us(&mut self) -> u64 {
        match self.below(100_000) {
            0 => 8_000 + self.below(9_000),
            1..100 => 1_000 + self.below(3_000),
            100..3_000 => 250 + self.below(200),
            _ => 110 + self.below(90) + self.below(60),
        }
    }
}

impl Fixture {
    /// Seconds from the first connect to the last.
    fn opening_s(self) -> u64 {
        self.connections.div_ceil(1_000)
    }

    /// Seconds from the first sample to the first message.
    pub(crate) fn sending_at(self) -> u64 {
        NOBODY_S + self.opening_s() + IDLE_S
    }

    /// Seconds from the first sample to the last message.
    fn sent_at(self) -> u64 {
        self.sending_at() + self.sending_s
    }

    /// From one entry of the tools' logs to the next, as the rig has it: at most 600 of them.
    fn log_every_s(self) -> u64 {
        self.sending_s.div_ceil(600).max(1)
    }

    /// Messages in all.
    pub(crate) fn n_messages(self) -> u64 {
        self.per_second * self.sending_s
    }

    /// Writes every raw file into `folder`.
    pub(crate) fn write(self, folder: &Path) {
        self.write_slower(folder, 1_000);
    }

    /// The same, with deliveries that take so many thousandths of their time.
    pub(crate) fn write_slower(self, folder: &Path, thousandths: u64) {
        self.plan().write(folder).unwrap();
        host().write(folder).unwrap();
        let exit =
            |program: &str| Exit { program: program.to_owned(), code: Some(0), ..Exit::default() };
        let exits = ["floodtest", "msggen", "comet-server", "memlog"].map(exit).to_vec();
        Exits { exits }.write(folder).unwrap();
        self.footprints().write(folder).unwrap();
        fs::write(folder.join(files::MEMORY), self.memory()).unwrap();
        let stats = serde_json::to_string(&self.stats()).unwrap();
        fs::write(folder.join(files::SERVER_STATS), stats).unwrap();
        self.write_flood(folder, thousandths);
        self.write_send(folder);
    }

    fn plan(self) -> Plan {
        let command = |program: &str, line: &str| Command {
            program: program.to_owned(),
            line: line.to_owned(),
        };
        Plan {
            experiment: "c10k".to_owned(),
            toolkit: "0.1.0".to_owned(),
            commit: Some("abc1234".to_owned()),
            profile: "release".to_owned(),
            started_unix_s: FIRST_UNIX_S,
            nodes: 1,
            connections: self.connections,
            rate: 1_000,
            messages_per_second: self.per_second,
            sources: 100,
            duration_s: self.sending_s as f64,
            seed: 1,
            log_interval_s: self.log_every_s() as f64,
            memory_interval_s: 1.0,
            commands: vec![
                command("rig", "cargo rig c10k --minutes 2"),
                command("comet-server", "comet-server --listen 127.0.0.1:0 --control 127.0.0.1:0"),
                command("memlog", "memlog --pid 4242 --port 8000 --interval 1s --log memory.tsv"),
                command(
                    "floodtest",
                    "floodtest --urls urls.txt --rate 1000 --report 1s --json --out .",
                ),
                command(
                    "msggen",
                    "msggen --num 1200 --interval 100000000ns --max 10000 --sources 100 --server \
                     http://127.0.0.1:36017 --seed 1 --report 1s --stamp --json --out .",
                ),
            ],
            ..Plan::default()
        }
    }

    /// What the run took of the machine: 9.5 KB of the kernel for a connection.
    fn footprints(self) -> Footprints {
        let one = |phase: &str, n_connections: u64, rss_kb| Footprint {
            phase: phase.to_owned(),
            server_processes: 1,
            server_pss_kb: Some(rss_kb),
            floodtest_processes: u64::from(n_connections > 0),
            floodtest_pss_kb: Some(n_connections / 10),
            slab_kb: Some(80_000 + n_connections * 19 / 2),
            tcp_sockets: Some(2 * n_connections),
            tcp_buffers_kb: Some(40),
            broker_bytes: Some(1_000_000 + n_connections * 200),
        };
        let n = self.connections;
        let footprints = vec![
            one(marks::NOBODY, 0, EMPTY_KB),
            one(marks::CONNECTED, n, IDLE_KB),
            one(marks::SENT, n, IDLE_KB),
        ];
        Footprints { footprints }
    }

    /// The memory log.
    fn memory(self) -> String {
        let marks_at = [
            (0, marks::NOBODY),
            (NOBODY_S, marks::CONNECTING),
            (NOBODY_S + self.opening_s(), marks::CONNECTED),
            (self.sending_at(), marks::SENDING),
            (self.sent_at(), marks::SENT),
            (self.sent_at() + IDLE_S, marks::DISCONNECTING),
        ];
        let mut log = String::new();
        for at in 0..=self.sent_at() + 2 * IDLE_S {
            let is_open = at < self.sent_at() + IDLE_S;
            let opened = (at.saturating_sub(NOBODY_S) * 1_000).min(self.connections);
            let sending_s = at.clamp(self.sending_at(), self.sent_at()) - self.sending_at();
            let n_connections = if is_open { opened } else { 0 };
            let marks = marks_at.iter().filter(|it| it.0 == at);
            let sample = Sample {
                unix_s: FIRST_UNIX_S + at,
                // 10 KB a minute while messages are sent, which a reader must find again.
                rss_kb: EMPTY_KB + (IDLE_KB - EMPTY_KB) * opened / self.connections + sending_s / 6,
                n_connections,
                anon_kb: Some(1_200 + (IDLE_KB - EMPTY_KB) * opened / self.connections),
                kernel_tcp_kb: Some(40 + if sending_s > 0 { 24 } else { 0 }),
                slab_kb: Some(2_000 + n_connections * 19 / 2),
                n_threads: Some(2),
                cpu_ms: Some(20 + sending_s * 66),
                n_fds: Some(12 + n_connections),
                marks: marks.map(|(_, text)| Mark::new(text, None)).collect(),
                ..Sample::default()
            };
            writeln!(log, "{sample}").unwrap();
        }
        log
    }

    /// The server's counts.
    pub(crate) fn stats(self) -> ServerStats {
        let n = self.n_messages();
        ServerStats {
            connections_accepted: self.connections,
            connections_open: self.connections,
            connections_parked: self.connections,
            messages: n,
            messages_reached: n,
            chunks: n,
            chunks_written: n,
            ..ServerStats::default()
        }
    }

    /// floodtest's reports and delays.
    fn write_flood(self, folder: &Path, thousandths: u64) {
        let started_unix_s = FIRST_UNIX_S + NOBODY_S;
        let sending_at = self.sending_at() - NOBODY_S;
        let mut noise = Noise(1);
        let (mut due, mut actual) = (Latency::default(), Latency::default());
        let mut logs = [
            Log::new("delivery, from due", started_unix_s),
            Log::new("delivery, from send", started_unix_s),
        ];
        let mut reports = String::new();
        let end = self.sent_at() + IDLE_S - NOBODY_S;
        for second in 1..=end {
            if (sending_at..sending_at + self.sending_s).contains(&(second - 1)) {
                for _ in 0..self.per_second {
                    let delay_us = noise.delay_us();
                    actual.record_us(delay_us * thousandths / 1_000);
                    due.record_us((delay_us + 40 + noise.below(30)) * thousandths / 1_000);
                }
            }
            if second % self.log_every_s() > 0 && second < end {
                continue;
            }
            let connected = (second * 1_000).min(self.connections);
            let report = FloodReport {
                elapsed_s: second as f64,
                is_final: second == end,
                asked: self.connections,
                connected,
                established: connected,
                chunks: due.count(),
                items: due.count(),
                item_kind: ItemKind::Chunks,
                messages: due.count(),
                judged_by: JudgedBy::Stamps,
                lost: Some(0),
                duplicated: Some(0),
                reordered: Some(0),
                bytes: due.count() * 60,
                opening_s: (connected - 1) as f64 / 1_000.0,
                delivery_from_due: due.summary(),
                delivery_from_send: actual.summary(),
                ..FloodReport::default()
            };
            reports += &(serde_json::to_string(&report).unwrap() + "\n");
            for (log, total) in logs.iter_mut().zip([&due, &actual]) {
                log.add(second, total);
            }
        }
        fs::write(folder.join(files::FLOODTEST), reports).unwrap();
        for (log, name) in logs.iter().zip([files::DELIVERY_FROM_DUE, files::DELIVERY_FROM_SEND]) {
            fs::write(folder.join(name), &log.text).unwrap();
        }
    }

    /// msggen's reports and delays.
    fn write_send(self, folder: &Path) {
        let started_unix_s = FIRST_UNIX_S + self.sending_at();
        let mut noise = Noise(2);
        let mut totals = [(); 3].map(|()| Latency::default());
        let mut logs = ["send, from due", "send, from send", "lateness"]
            .map(|what| Log::new(what, started_unix_s));
        let mut reports = String::new();
        for second in 1..=self.sending_s {
            for _ in 0..self.per_second {
                let (late_us, delay_us) = (40 + noise.below(30), noise.delay_us());
                totals[0].record_us(late_us + delay_us);
                totals[1].record_us(delay_us);
                totals[2].record_us(late_us);
            }
            if second % self.log_every_s() > 0 && second < self.sending_s {
                continue;
            }
            let sent = self.per_second * second;
            let report = SendReport {
                elapsed_s: second as f64,
                is_final: second == self.sending_s,
                asked: self.n_messages(),
                sent,
                answered: sent,
                reached: Some(sent),
                void: Some(0),
                connections: Some(sent),
                failures: ByReason::default(),
                achieved_per_s: self.per_second as f64,
                asked_per_s: self.per_second as f64,
                send_from_due: totals[0].summary(),
                send_from_send: totals[1].summary(),
                lateness: totals[2].summary(),
                ..SendReport::default()
            };
            reports += &(serde_json::to_string(&report).unwrap() + "\n");
            for (log, total) in logs.iter_mut().zip(&totals) {
                log.add(second, total);
            }
        }
        fs::write(folder.join(files::MSGGEN), reports).unwrap();
        let names = [files::SEND_FROM_DUE, files::SEND_FROM_SEND, files::LATENESS];
        for (log, name) in logs.iter().zip(names) {
            fs::write(folder.join(name), &log.text).unwrap();
        }
    }
}

/// A latency log in the making.
struct Log {
    text: String,
    logged: Latency,
    logged_at: Duration,
}

impl Log {
    fn new(what: &str, started_unix_s: u64) -> Self {
        let text = latency_log::head(what, Duration::from_secs(started_unix_s));
        Self { text, logged: Latency::default(), logged_at: Duration::ZERO }
    }

    /// Adds the interval that ends at `second`.
    fn add(&mut self, second: u64, total: &Latency) {
        let end = Duration::from_secs(second);
        self.text += &latency_log::line(self.logged_at, end, total, &self.logged);
        self.logged.clone_from(total);
        self.logged_at = end;
    }
}

/// A machine.
fn host() -> Host {
    Host {
        cpu_model: Some("AMD EPYC".to_owned()),
        cpus: Some(2),
        memory_kb: Some(24_599_472),
        kernel: Some("Linux 6.18.44".to_owned()),
        os: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        is_virtual: Some(true),
        open_files_soft: Some(20_000),
        open_files_hard: Some(20_000),
        congestion_control: Some("bbr".to_owned()),
        tcp_rmem: Some([4_096, 131_072, 6_291_456]),
        tcp_wmem: Some([4_096, 16_384, 4_194_304]),
        tcp_mem: Some([287_000, 382_000, 574_000]),
        somaxconn: Some(4_096),
        netdev_max_backlog: Some(1_000),
        ip_local_port_range: Some([32_768, 60_999]),
        huge_pages: Some("madvise".to_owned()),
        clock_source: Some("kvm-clock".to_owned()),
        load_before: Some([0.02, 0.05, 0.01]),
        rustc: Some("rustc 1.95.0".to_owned()),
    }
}
