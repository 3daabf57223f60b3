//! Waits until a worker says something, wherever it is.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::link::Link;
use crate::error::Error;

/// What came of waiting.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// Whether the run is to end.
    pub(super) is_stopped: bool,
    /// Whether something was said that was not asked for.
    pub(super) has_news: bool,
}

/// Waits until something is said on one of `links`, until something is due there, or until `until`,
/// and takes it in. `stop` ends the run when it becomes readable.
pub(super) fn listen(
    links: &mut [&mut dyn Link],
    stop: Option<BorrowedFd<'_>>,
    until: Option<Instant>,
) -> Result<Heard, Error> {
    let open: Vec<usize> = (0..links.len()).filter(|index| links[*index].is_open()).collect();
    let fds = open.iter().map(|index| links[*index].fd()).chain(stop);
    let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let due = open.iter().filter_map(|index| links[*index].next_at());
    let until = due.chain(until).min();
    let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Heard::default()),
        Err(errno) => return Err(io::Error::from(errno).into()),
    }
    let mut is_ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
    let is_stopped = stop.is_some() && is_ready.pop().is_some_and(|is_ready| is_ready);
    drop(fds);
    let mut has_news = false;
    for (index, is_ready) in open.into_iter().zip(is_ready) {
        if is_ready {
            has_news |= links[index].listen()?;
        }
        has_news |= links[index].tend(Instant::now());
    }
    Ok(Heard { is_stopped, has_news })
}
