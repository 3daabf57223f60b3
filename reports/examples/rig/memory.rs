//! Memory and CPU time of a process, from `/proc`.

use std::fs;

use anyhow::Context as _;

/// Clock ticks a second in `/proc/PID/stat`: fixed in the kernel's interface on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The resident memory of a process, in KB of 1,024 bytes, as `ps -o rss` prints it.
pub(crate) fn rss_kb(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = value.and_then(|value| value.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no VmRSS in {path}"))
}

/// The CPU time that a process has used, in seconds.
pub(crate) fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name before it may hold anything, but the last parenthesis ends it. utime and stime are
    // fields 14 and 15 of the line, 12 and 13 of what is left.
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest);
    let mut ticks = rest.into_iter().flat_map(str::split_whitespace).skip(11);
    let mut next = || ticks.next().and_then(|field| field.parse::<u64>().ok());
    let total = next().zip(next()).map(|(user, system)| user + system);
    Ok(total.with_context(|| format!("no CPU times in {path}"))? as f64 / TICKS_PER_SECOND)
}
