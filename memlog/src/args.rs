//! The command line, checked once into a [`Config`].

use std::path::PathBuf;
use std::time::Duration;

use about::About;
use charts;
use clap::{Args as ClapArgs, Parser, Subcommand};
use reports::units::{parse_bytes, parse_duration};

use crate::config::{Config, Plot, There};
use crate::target::Choice;
use reports::remote::RemoteHost;

/// The server that is looked for when nothing else is said.
const DEFAULT_NAME: &str = "comet-server";

/// The shortest interval. A sample of 19,000 connections takes up a fifth of it.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time: far beyond any run, and far below where clocks overflow.
const LONGEST_TIME: Duration = Duration::from_hours(365 * 24 * 10);

/// The smallest log that is rotated: below it the folder would fill with files.
const SMALLEST_LOG_BYTES: u64 = 64 * 1024;

/// Logs a server's memory and connections for days without disturbing it.
///
/// Every interval one line: date, unix time, RSS in KB and established connections on the
/// server's listening ports, tab-separated, then key=value columns. Ctrl-C ends it. SIGUSR1 or
/// `memlog mark TEXT` marks a phase.
///
/// The RSS of several processes is their sum, in which a page that they share counts once for each
/// of them: forked workers have less memory in all. `pss_kb` counts such a page once. It is read
/// at marks, at the end and every 10 min, and left out, which is said, where a process has more
/// than 4 GiB or the last reading took more than 20 ms, since reading it may hold the process up.
///
/// Exit code: 0 when it recorded what was asked for; 1 when it fell short, such as when the
/// process ended; 2 when it could not begin.
#[derive(Debug, Clone, Parser)]
#[command(name = "memlog", version, long_version = about::version())]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do instead of recording.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to record.
    #[command(flatten)]
    pub record: RecordArgs,
}

/// What else there is to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Mark the beginning of a phase in the log of a running memlog
    Mark {
        /// What to call it
        text: String,
        /// The log that the running memlog writes
        #[arg(long, value_name = "FILE", default_value = "mochimem.log")]
        log: PathBuf,
    },
    /// Takes samples for the memlog at the other end of ssh.
    #[command(hide = true)]
    Worker {
        /// Through stdin and stdout, which is the only way
        #[arg(long, required = true)]
        stdio: bool,
    },
    /// Draw old logs, laid over each other if there are several
    Plot {
        /// The logs; four columns, and space-separated lines, will do
        #[arg(required = true, value_name = "LOG")]
        logs: Vec<PathBuf>,
        /// The chart, a .png or .svg file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How it looks.
        #[command(flatten)]
        look: LookArgs,
    },
    /// What it tells about itself.
    #[command(flatten)]
    About(About),
}

/// How a chart looks.
#[derive(Debug, Clone, ClapArgs)]
pub struct LookArgs {
    /// Title of the chart [default: Mem usage with N active connections]
    #[arg(long)]
    pub title: Option<String>,

    /// Width and height of the chart in pixels
    #[arg(long, value_name = "WxH", default_value = "1000x600", value_parser = size)]
    pub size: (u32, u32),
}

impl LookArgs {
    /// The chart to draw at `path`.
    pub fn plot(&self, path: PathBuf) -> Plot {
        let options = charts::Options { size_px: self.size, title: self.title.clone() };
        Plot { path, options }
    }
}

/// How to record.
#[derive(Debug, Clone, ClapArgs)]
pub struct RecordArgs {
    /// Processes to watch, summed; auto: the one called --name [default: auto, without --name]
    #[arg(long, value_name = "auto|PID,…", value_parser = pids)]
    pub pid: Option<Pids>,

    /// Watch all processes of this name, summed; with --pid auto the only one, which is
    /// comet-server by default
    #[arg(long)]
    pub name: Option<String>,

    /// Watch the processes that own a listening port, and their descendants that take connections
    /// from it, summed; found again after a restart, and whenever they become others. May be
    /// repeated
    #[arg(
        long,
        value_name = "PORT,…",
        value_delimiter = ',',
        value_parser = port,
        conflicts_with_all = ["pid", "name", "port"],
    )]
    pub listen: Vec<u16>,

    /// Take the samples on another host, and keep them here: as ssh knows it, with memlog of the
    /// same version on its PATH. Nothing is written there. When it is lost, memlog ends
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    pub host: Option<RemoteHost>,

    /// Watch their descendants as well
    #[arg(long)]
    pub tree: bool,

    /// Count connections on these ports, summed [default: those on which the processes listen]
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', value_parser = port)]
    pub port: Vec<u16>,

    /// Append lines to this file
    #[arg(long, value_name = "FILE", default_value = "mochimem.log")]
    pub log: PathBuf,

    /// Move the log to FILE.1, FILE.2, … when it would grow past this size
    #[arg(long, value_name = "SIZE", value_parser = rotate)]
    pub rotate: Option<u64>,

    /// From one sample to the next
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = interval)]
    pub interval: Duration,

    /// End after this time [default: with Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub run_for: Option<Duration>,

    /// Redraw this chart as the run goes on, a .png or .svg file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// How the chart looks.
    #[command(flatten)]
    pub look: LookArgs,

    /// Do not print the lines on stdout too
    #[arg(long, short)]
    pub quiet: bool,
}

/// The value of `--pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pids {
    /// The only one of a name.
    Auto,
    /// These.
    These(Vec<u32>),
}

impl RecordArgs {
    /// Checks what the flags cannot check each by itself.
    pub fn check(&self) -> Result<Config, String> {
        let name = self.name.clone();
        let choice = match (&self.pid, name) {
            (Some(Pids::These(_)), Some(_)) => {
                return Err("--name and pids exclude each other; give one of them".to_owned());
            }
            (Some(Pids::These(pids)), None) => Choice::Pids(pids.clone()),
            (None, None) if !self.listen.is_empty() => {
                Choice::Listening(self.listen.iter().copied().collect())
            }
            (None, Some(name)) => Choice::Named(name),
            (_, name) => Choice::Only(name.unwrap_or_else(|| DEFAULT_NAME.to_owned())),
        };
        if self.plot.as_ref() == Some(&self.log) {
            return Err("--plot and --log name the same file".to_owned());
        }
        Ok(Config {
            choice,
            with_tree: self.tree,
            ports: if self.listen.is_empty() { &self.port } else { &self.listen }.clone(),
            log: self.log.clone(),
            rotate_bytes: self.rotate,
            interval: self.interval,
            run_for: self.run_for,
            plot: self.plot.clone().map(|path| self.look.plot(path)),
            there: self.host.clone().map(|host| There { host, flags: self.flags_there() }),
        })
    }

    /// The flags that say on another host what is recorded there. What is done with it is for
    /// memlog here, which alone writes files; the log is there only to be named in what is said.
    fn flags_there(&self) -> Vec<String> {
        let time = |name: &str, time: Duration| format!("--{name}={}ns", time.as_nanos());
        let numbers =
            |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(",");
        let ports = |ports: &[u16]| numbers(&mut ports.iter().map(u16::to_string));
        let mut flags =
            vec![format!("--log={}", self.log.display()), time("interval", self.interval)];
        flags.extend(self.pid.as_ref().map(|pids| match pids {
            Pids::Auto => "--pid=auto".to_owned(),
            Pids::These(pids) => format!("--pid={}", numbers(&mut pids.iter().map(u32::to_string))),
        }));
        flags.extend(self.name.as_ref().map(|name| format!("--name={name}")));
        flags.extend(self.run_for.map(|run_for| time("for", run_for)));
        flags.extend(self.tree.then(|| "--tree".to_owned()));
        for (name, these) in [("listen", &self.listen), ("port", &self.port)] {
            flags.extend((!these.is_empty()).then(|| format!("--{name}={}", ports(these))));
        }
        flags
    }
}

/// Reads `auto`, or pids.
fn pids(text: &str) -> Result<Pids, String> {
    if text == "auto" {
        return Ok(Pids::Auto);
    }
    let pid = |text: &str| text.trim().parse().ok().filter(|pid| *pid > 0);
    let mut pids: Vec<u32> = text
        .split(',')
        .map(pid)
        .collect::<Option<_>>()
        .ok_or("write auto, or pids such as 4242 or 1,2,3")?;
    pids.sort_unstable();
    pids.dedup();
    Ok(Pids::These(pids))
}

/// Reads a port.
fn port(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

/// Reads the size at which logs are rotated.
fn rotate(text: &str) -> Result<u64, String> {
    match parse_bytes(text) {
        Ok(size) if size < SMALLEST_LOG_BYTES => Err("must be at least 64KiB".to_owned()),
        Ok(size) => Ok(size),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the interval.
fn interval(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time < SHORTEST_INTERVAL => Err("must be at least 100ms".to_owned()),
        time => Ok(time),
    }
}

/// Reads the size of a chart.
fn size(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once('x').map(|(width, height)| (width.parse(), height.parse()));
    match numbers {
        Some((Ok(width), Ok(height))) => Ok((width, height)),
        _ => Err("write width and height in pixels, such as 1600x900".to_owned()),
    }
}

/// Reads a time that is not zero.
fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than 0s".to_owned()),
        Ok(time) if time > LONGEST_TIME => Err("must be at most 10years".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The config of a command line.
    fn config(line: &str) -> Result<Config, String> {
        let words = std::iter::once("memlog").chain(line.split_whitespace());
        let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        args.record.check()
    }

    #[test]
    fn what_is_watched_follows_from_pid_and_name() {
        let choice = |line| config(line).unwrap().choice;
        assert_eq!(choice(""), Choice::Only("comet-server".into()));
        assert_eq!(choice("--pid auto"), Choice::Only("comet-server".into()));
        assert_eq!(choice("--pid auto --name beam.smp"), Choice::Only("beam.smp".into()));
        assert_eq!(choice("--name nginx"), Choice::Named("nginx".into()));
        assert_eq!(choice("--pid 3,1,2,1"), Choice::Pids(vec![1, 2, 3]));
        assert!(config("--pid 1 --name nginx").is_err());
    }

    #[test]
    fn ports_to_listen_on_are_repeated_or_listed_and_stand_alone() {
        let config_of = |line| config(line).unwrap();
        let both = config_of("--listen 8001 --listen 8000,8001");
        assert_eq!(both.choice, Choice::Listening([8000, 8001].into()));
        assert_eq!(both.ports, [8001, 8000, 8001]);
        for other in ["--pid auto", "--name nginx", "--port 8000"] {
            let error = config(&format!("--listen 8000 {other}")).unwrap_err();
            assert!(error.contains("cannot be used with"), "{error}");
        }
        assert!(config("--listen 0").is_err() && config("--listen http").is_err());
    }

    #[test]
    fn what_another_host_is_told_is_what_was_asked_for_here() {
        for line in [
            "--pid auto --interval 100ms",
            "--pid 3,1 --tree --port 80,8080 --for 2h",
            "--name nginx",
            "--listen 8000,8001 --interval 1s",
        ] {
            let here = config(&format!("--host h {line}")).unwrap();
            let there = here.there.as_ref().unwrap();
            let words = std::iter::once("memlog").chain(there.flags.iter().map(String::as_str));
            let args = Args::try_parse_from(words).unwrap();
            let there = Config { there: here.there.clone(), ..args.record.check().unwrap() };
            assert_eq!(format!("{there:?}"), format!("{here:?}"), "{line}");
        }
        assert_eq!(config("--pid 1").unwrap().there.map(|it| it.host), None);
        assert!(config("--host -oProxyCommand=x").is_err());
    }

    #[test]
    fn a_bare_interval_is_refused_with_the_word() {
        let error = config("--interval 60").unwrap_err();
        assert!(error.contains("write 60s"), "{error}");
        assert!(config("--interval 1ms").is_err());
    }
}
