//! What a run cost the server, by its memory log alone.

use serde::Serialize;

use super::files::marks;
use super::timeline::Timeline;
use crate::memory_log::{Sample, bytes_per_connection};

/// The fewest samples that a slope is drawn through. With fewer, one page more at the end of a
/// short run looks like a leak.
const LEAST_SLOPE_SAMPLES: usize = 10;

/// What a run cost the server. A figure that the memory log does not have is `None`, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cost {
    /// With nobody connected: the last sample before the connecting began.
    pub empty: Option<Moment>,
    /// With everybody connected and nothing sent yet: the last sample before the sending began.
    pub idle: Option<Moment>,
    /// After the messages: the last sample before the disconnecting began.
    pub after: Option<Moment>,
    /// The highest RSS of any sample while messages were sent, in KB of 1,024 bytes.
    pub highest_rss_kb: Option<u64>,
    /// (RSS idle − RSS empty) ÷ connections idle, in bytes.
    pub idle_bytes_per_connection: Option<f64>,
    /// (RSS after − RSS empty) ÷ connections after, in bytes.
    pub after_bytes_per_connection: Option<f64>,
    /// The same of kernel memory for TCP, idle: of the whole machine, so of both ends of a
    /// connection on loopback. `None` where the socket objects could not be counted, for which
    /// memlog needs root: buffers alone say nothing about idle connections.
    pub idle_kernel_bytes_per_connection: Option<f64>,
    /// The same after the messages.
    pub after_kernel_bytes_per_connection: Option<f64>,
    /// CPU time over elapsed time while messages were sent; 1 is one core.
    pub cpu_share: Option<f64>,
    /// CPU time while messages were sent, divided by the messages that were received, in
    /// microseconds. All that the server does meanwhile is in it.
    pub cpu_us_per_message: Option<f64>,
    /// By how much the RSS grew in the last half of the sending, in KB a minute: the slope of the
    /// straight line with the least squares.
    pub rss_slope_kb_per_min: Option<f64>,
}

/// The server's memory at one moment, in KB of 1,024 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Established connections.
    pub connections: u64,
    /// Resident memory.
    pub rss_kb: u64,
    /// The anonymous part of it.
    pub anon_kb: Option<u64>,
    /// Kernel memory in TCP buffers, of the whole machine.
    pub kernel_tcp_kb: Option<u64>,
    /// Kernel memory in TCP socket objects, of the whole machine.
    pub slab_kb: Option<u64>,
}

impl Moment {
    /// What a sample says.
    fn of(sample: &Sample) -> Self {
        Self {
            connections: sample.n_connections,
            rss_kb: sample.rss_kb,
            anon_kb: sample.anon_kb,
            kernel_tcp_kb: sample.kernel_tcp_kb,
            slab_kb: sample.slab_kb,
        }
    }

    /// Kernel memory for TCP, if both parts of it are known.
    pub fn kernel_kb(&self) -> Option<u64> {
        Some(self.kernel_tcp_kb? + self.slab_kb?)
    }
}

impl Cost {
    /// The cost of the run on `timeline`, in which `n_messages` were received.
    pub(crate) fn of(timeline: &Timeline<'_>, n_messages: u64) -> Self {
        let before = |mark| timeline.before(mark).map(Moment::of);
        let (empty, idle) = (before(marks::CONNECTING), before(marks::SENDING));
        let after = before(marks::DISCONNECTING);
        let per_connection = |moment: &Option<Moment>, kb: fn(&Moment) -> Option<u64>| {
            let (moment, empty) = (moment.as_ref()?, empty.as_ref()?);
            bytes_per_connection(kb(moment)? as f64, kb(empty)? as f64, moment.connections as f64)
        };
        let rss = |moment: &Moment| Some(moment.rss_kb);
        let sending = timeline.between(marks::SENDING, marks::SENT);
        Self {
            highest_rss_kb: sending.iter().map(|(_, sample)| sample.rss_kb).max(),
            idle_bytes_per_connection: per_connection(&idle, rss),
            after_bytes_per_connection: per_connection(&after, rss),
            idle_kernel_bytes_per_connection: per_connection(&idle, Moment::kernel_kb),
            after_kernel_bytes_per_connection: per_connection(&after, Moment::kernel_kb),
            cpu_share: cpu_share(&sending),
            cpu_us_per_message: cpu_ms(&sending)
                .filter(|_| n_messages > 0)
                .map(|cpu_ms| cpu_ms as f64 * 1_000.0 / n_messages as f64),
            rss_slope_kb_per_min: rss_slope(&sending),
            empty,
            idle,
            after,
        }
    }
}

/// CPU time over elapsed time, from the first sample to the last. `None` if the process was another
/// one in between.
fn cpu_share(samples: &[(f64, &Sample)]) -> Option<f64> {
    let cpu_ms = cpu_ms(samples)?;
    let [(begin_s, _), .., (end_s, _)] = samples else { return None };
    (end_s > begin_s).then(|| cpu_ms as f64 / 1_000.0 / (end_s - begin_s))
}

/// CPU time from the first sample to the last, in milliseconds.
fn cpu_ms(samples: &[(f64, &Sample)]) -> Option<u64> {
    let [(_, first), .., (_, last)] = samples else { return None };
    last.cpu_ms?.checked_sub(first.cpu_ms?)
}

/// The slope of the RSS over the last half of the time, in KB a minute.
fn rss_slope(samples: &[(f64, &Sample)]) -> Option<f64> {
    let [(begin_s, _), .., (end_s, _)] = samples else { return None };
    let middle_s = f64::midpoint(*begin_s, *end_s);
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(at_s, _)| *at_s >= middle_s)
        .map(|(at_s, sample)| ((at_s - middle_s) / 60.0, sample.rss_kb as f64))
        .collect();
    if points.len() < LEAST_SLOPE_SAMPLES {
        return None;
    }
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}
