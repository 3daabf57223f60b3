//! Room for a connection per source.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Error;

/// Descriptors beyond the sources' connections: the standard three, the runtime's own, and
/// connections that are being closed while their successor is being opened.
const RESERVE: u64 = 64;

/// Raises the soft open-file limit to the hard one, as far as that is allowed.
///
/// With `all_at_once`, fails if `n_sources` connections do not fit. Sources on a schedule take
/// turns and share a few connections as long as the server answers, so for them a limit that is
/// too low for all at once is no reason not to begin.
pub fn make_room(n_sources: u64, all_at_once: bool) -> Result<(), Error> {
    let mut limits = getrlimit(Resource::Nofile);
    let hard = limits.maximum.unwrap_or(u64::MAX);
    limits.current = limits.maximum;
    // Where raising it is forbidden the old limit stays, and failures will say `no descriptors`.
    let _ = setrlimit(Resource::Nofile, limits);
    let needed = n_sources.saturating_add(RESERVE);
    if all_at_once && needed > hard {
        return Err(Error::Descriptors { n_sources, limit: hard, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sources_than_descriptors_are_refused_with_the_limit_that_would_do() {
        let Some(hard) = getrlimit(Resource::Nofile).maximum else {
            return; // Nothing is too many.
        };
        assert!(make_room(1, true).is_ok());
        assert!(make_room(hard, false).is_ok());
        let error = make_room(hard, true).unwrap_err().to_string();
        assert!(error.contains(&format!("`ulimit -n {}`", hard + RESERVE)), "{error}");
    }
}
