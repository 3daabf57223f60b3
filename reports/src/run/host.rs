//! The machine of a run: what a doubter asks first.

use std::path::Path;
use std::{fs, thread};

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// The machine of a run: `host.toml`. What could not be found out is absent. The machine's name is
/// not kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// Processors that a program may use here.
    pub cpus: Option<u64>,
    /// Memory of the machine, in KB of 1,024 bytes.
    pub memory_kb: Option<u64>,
    /// The kernel, as `uname -sr` prints it.
    pub kernel: Option<String>,
    /// The distribution.
    pub os: Option<String>,
    /// Whether it is a virtual machine.
    #[serde(rename = "virtual")]
    pub is_virtual: Option<bool>,
    /// Open files that a process may have unless it asks for more.
    pub open_files_soft: Option<u64>,
    /// Open files that a process may ask for.
    pub open_files_hard: Option<u64>,
    /// TCP's congestion control.
    pub congestion_control: Option<String>,
    /// Least, default and greatest receive buffer of a socket, in bytes.
    pub tcp_rmem: Option<[u64; 3]>,
    /// The same of the send buffer.
    pub tcp_wmem: Option<[u64; 3]>,
    /// Memory of all TCP sockets, in pages: no pressure below, pressure above, limit.
    pub tcp_mem: Option<[u64; 3]>,
    /// The longest queue of connections that are not accepted yet.
    pub somaxconn: Option<u64>,
    /// Packets that a processor's queue of received ones takes; those of loopback pass it too.
    pub netdev_max_backlog: Option<u64>,
    /// First and last port that the kernel chooses by itself.
    pub ip_local_port_range: Option<[u64; 2]>,
    /// When the kernel uses huge pages: they make memory resident that was never asked for.
    pub huge_pages: Option<String>,
    /// What the kernel's clocks are read from.
    pub clock_source: Option<String>,
    /// The load averages over 1, 5 and 15 minutes, before anything was started.
    pub load_before: Option<[f64; 3]>,
    /// The compiler's version.
    pub rustc: Option<String>,
}

impl Host {
    /// The machine that this runs on, built on by `rustc`. Call it before anything is started: it
    /// keeps the load of that moment.
    pub fn of_this_machine(rustc: Option<String>) -> Self {
        let cpus = thread::available_parallelism().ok().map(|cpus| cpus.get() as u64);
        Self { cpus, rustc, ..Self::from_files(|path| fs::read_to_string(path).ok()) }
    }

    /// What the files of the system say, which `read` returns the text of.
    fn from_files(read: impl Fn(&str) -> Option<String>) -> Self {
        let setting = |name: &str| Some(read(&format!("/proc/sys/{name}"))?.trim().to_owned());
        let cpuinfo = read("/proc/cpuinfo");
        let cpuinfo = |key: &str| value_of(cpuinfo.as_deref()?, key, ':');
        let limit = |column| open_files(&read("/proc/self/limits")?, column);
        let kernel =
            || Some(format!("{} {}", setting("kernel/ostype")?, setting("kernel/osrelease")?));
        Self {
            cpu_model: cpuinfo("model name"),
            cpus: None,
            memory_kb: read("/proc/meminfo").and_then(|text| memory_kb(&text)),
            kernel: kernel(),
            os: read("/etc/os-release").and_then(|text| value_of(&text, "PRETTY_NAME", '=')),
            is_virtual: cpuinfo("flags").map(|it| it.split(' ').any(|flag| flag == "hypervisor")),
            open_files_soft: limit(SOFT_LIMIT),
            open_files_hard: limit(HARD_LIMIT),
            congestion_control: setting("net/ipv4/tcp_congestion_control"),
            tcp_rmem: setting("net/ipv4/tcp_rmem").and_then(|text| numbers(&text)),
            tcp_wmem: setting("net/ipv4/tcp_wmem").and_then(|text| numbers(&text)),
            tcp_mem: setting("net/ipv4/tcp_mem").and_then(|text| numbers(&text)),
            somaxconn: setting("net/core/somaxconn").and_then(|text| text.parse().ok()),
            netdev_max_backlog: setting("net/core/netdev_max_backlog")
                .and_then(|text| text.parse().ok()),
            ip_local_port_range: setting("net/ipv4/ip_local_port_range")
                .and_then(|text| numbers(&text)),
            huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .map(|text| text.trim().to_owned()),
            load_before: read("/proc/loadavg").and_then(|text| numbers(&text)),
            rustc: None,
        }
    }

    /// Reads the machine of the run in `folder`.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        read_toml(&folder.join(files::HOST))
    }

    /// Writes it into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::HOST), self)
    }
}

/// Columns of a line of `/proc/self/limits` after the limit's name.
const SOFT_LIMIT: usize = 0;
const HARD_LIMIT: usize = 1;

/// The value of the first line that begins with `key`, without quotes.
fn value_of(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The memory in the text of `/proc/meminfo`.
fn memory_kb(text: &str) -> Option<u64> {
    value_of(text, "MemTotal", ':')?.strip_suffix(" kB")?.trim().parse().ok()
}

/// A limit of open files in the text of `/proc/self/limits`. One that is not a number (there may be
/// none) is absent.
fn open_files(text: &str, column: usize) -> Option<u64> {
    let limits = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    limits.split_whitespace().nth(column)?.parse().ok()
}

/// The first numbers of a line.
fn numbers<T: std::str::FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let words = text.split_whitespace().take(N);
    let all: Vec<T> = words.map_while(|word| word.parse().ok()).collect();
    all.try_into().ok()
}

/// What is chosen of `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine in files, as this kernel writes them.
    fn file(path: &str) -> Option<String> {
        let text = match path {
            "/proc/cpuinfo" => {
                "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor lm\n\n\
                 processor\t: 1\nmodel name\t: other\n"
            }
            "/proc/meminfo" => "MemTotal:       24599472 kB\nMemFree:        1 kB\n",
            "/proc/self/limits" => {
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max processes             95971                95971                processes \n\
                 Max open files            1024                 20000                files     \n"
            }
            "/etc/os-release" => "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
            "/proc/sys/kernel/ostype" => "Linux\n",
            "/proc/sys/kernel/osrelease" => "6.18.44\n",
            "/proc/sys/net/ipv4/tcp_rmem" => "4096\t131072\t6291456\n",
            "/proc/sys/net/ipv4/ip_local_port_range" => "32768\t60999\n",
            "/sys/kernel/mm/transparent_hugepage/enabled" => "always [madvise] never\n",
            "/proc/loadavg" => "0.25 0.50 1.00 1/97 4242\n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn a_machine_is_read_from_the_systems_files() {
        let host = Host::from_files(file);
        assert_eq!(host.cpu_model.as_deref(), Some("AMD EPYC"));
        assert_eq!(host.memory_kb, Some(24_599_472));
        assert_eq!(host.kernel.as_deref(), Some("Linux 6.18.44"));
        assert_eq!(host.os.as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(host.is_virtual, Some(true));
        assert_eq!((host.open_files_soft, host.open_files_hard), (Some(1_024), Some(20_000)));
        assert_eq!(host.tcp_rmem, Some([4_096, 131_072, 6_291_456]));
        assert_eq!(host.ip_local_port_range, Some([32_768, 60_999]));
        assert_eq!(host.huge_pages.as_deref(), Some("madvise"));
        assert_eq!(host.load_before, Some([0.25, 0.5, 1.0]));
        assert_eq!((host.somaxconn, host.tcp_wmem), (None, None), "their files are not there");
    }

    #[test]
    fn this_machine_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::of_this_machine(Some("rustc 1.95.0".to_owned()));
        assert!(host.cpus.is_some() && host.memory_kb.is_some() && host.kernel.is_some());
        assert!(host.load_before.is_some() && host.open_files_soft.is_some());
        host.write(folder.path()).unwrap();
        assert_eq!(Host::read(folder.path()).unwrap(), host);
    }
}
