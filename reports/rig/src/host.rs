//! What machine a run is made on.
//!
//! sysinfo knows the processor, the memory, the system and the load. What it does not know is read
//! from the kernel's files.

use std::{fs, thread};

use reports::run::Host;
use rustix::process::{Resource, getrlimit};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// The machine that this runs on, where programs are built by `rustc`. To be asked before anything
/// is started: it has the load of that moment.
pub(crate) fn of_this_machine(rustc: Option<String>) -> Host {
    let open_files = getrlimit(Resource::Nofile);
    Host {
        // Those that this process may use, which can be fewer than the machine has.
        cpus: thread::available_parallelism().ok().map(|cpus| cpus.get() as u64),
        // One of them may be absent: there need not be a limit.
        open_files_soft: open_files.current,
        open_files_hard: open_files.maximum,
        rustc,
        ..from_kernel(&by_sysinfo(), |path| fs::read_to_string(path).ok())
    }
}

/// What sysinfo says.
fn by_sysinfo() -> Host {
    let memory = MemoryRefreshKind::nothing().with_ram();
    // The names of the processors come with any list of them.
    let asked = RefreshKind::nothing().with_memory(memory).with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(asked).ok();
    let cpu = system.as_ref().and_then(|system| system.cpus().first());
    let memory = system.as_ref().map(|system| system.total_memory() / 1_024);
    let os = System::name().ok().map(|name| match System::os_version() {
        Ok(version) => format!("{name} {version}"),
        Err(_) => name,
    });
    Host {
        cpu_model: cpu.map(|cpu| cpu.brand().to_owned()).filter(|brand| !brand.is_empty()),
        memory_kb: memory.filter(|kb| *kb > 0),
        kernel: System::kernel_version().ok().map(|release| format!("Linux {release}")),
        os,
        load_before: System::load_average().ok().map(|it| [it.one, it.five, it.fifteen]),
        ..Host::default()
    }
}

/// `host` with what the kernel's files say, which `read` returns the text of.
fn from_kernel(host: &Host, read: impl Fn(&str) -> Option<String>) -> Host {
    let setting = |name: &str| Some(read(&format!("/proc/sys/net/{name}"))?.trim().to_owned());
    let flags = read("/proc/cpuinfo").and_then(|text| flags(&text));
    let trimmed = |text: String| text.trim().to_owned();
    Host {
        is_virtual: flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        congestion_control: setting("ipv4/tcp_congestion_control"),
        tcp_rmem: setting("ipv4/tcp_rmem").and_then(|text| numbers(&text)),
        tcp_wmem: setting("ipv4/tcp_wmem").and_then(|text| numbers(&text)),
        tcp_mem: setting("ipv4/tcp_mem").and_then(|text| numbers(&text)),
        somaxconn: setting("core/somaxconn").and_then(|text| text.parse().ok()),
        netdev_max_backlog: setting("core/netdev_max_backlog").and_then(|text| text.parse().ok()),
        ip_local_port_range: setting("ipv4/ip_local_port_range").and_then(|text| numbers(&text)),
        huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|text| chosen(&text)),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .map(trimmed),
        ..host.clone()
    }
}

/// The flags of the first processor in the text of `/proc/cpuinfo`.
fn flags(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "flags").then(|| value.trim().to_owned())
    })
}

/// The first numbers of a line.
fn numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let words = text.split_whitespace().take(N);
    let all: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
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
                 processor\t: 1\nflags\t\t: fpu\n"
            }
            "/proc/sys/net/ipv4/tcp_congestion_control" => "bbr\n",
            "/proc/sys/net/ipv4/tcp_rmem" => "4096\t131072\t6291456\n",
            "/proc/sys/net/ipv4/ip_local_port_range" => "32768\t60999\n",
            "/sys/kernel/mm/transparent_hugepage/enabled" => "always [madvise] never\n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn what_sysinfo_does_not_know_is_read_from_the_kernels_files() {
        let known = Host { cpu_model: Some("AMD EPYC".to_owned()), ..Host::default() };
        let host = from_kernel(&known, file);
        assert_eq!(host.cpu_model, known.cpu_model);
        assert_eq!(host.is_virtual, Some(true));
        assert_eq!(host.congestion_control.as_deref(), Some("bbr"));
        assert_eq!(host.tcp_rmem, Some([4_096, 131_072, 6_291_456]));
        assert_eq!(host.ip_local_port_range, Some([32_768, 60_999]));
        assert_eq!(host.huge_pages.as_deref(), Some("madvise"));
        assert_eq!((host.somaxconn, host.tcp_wmem), (None, None), "their files are not there");
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let host = of_this_machine(None);
        assert!(host.cpus.is_some() && host.cpu_model.is_some(), "{host:?}");
        assert!(host.memory_kb.is_some() && host.load_before.is_some(), "{host:?}");
        assert!(host.kernel.is_some_and(|kernel| kernel.starts_with("Linux ")));
        assert!(host.os.is_some());
    }
}
