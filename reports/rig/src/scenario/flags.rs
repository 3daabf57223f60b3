//! The flags of the tools that a scenario may have, by name. A test compares them with `--help`.

/// Those of floodtest.
pub(crate) const FLOODTEST: &[&str] = &[
    "answer",
    "binary",
    "body",
    "body-file",
    "ca",
    "cert",
    "connect-timeout",
    "done",
    "ends",
    "floodtest-path",
    "follow",
    "follows",
    "gaps",
    "goodput",
    "head-timeout",
    "header",
    "hosts",
    "id-in-url",
    "insecure",
    "judge",
    "key",
    "lifetime",
    "max-windows",
    "method",
    "metrics",
    "numbers",
    "on-open",
    "profile",
    "protocol",
    "reopen",
    "seed",
    "sequence",
    "settle",
    "slow",
    "source-ip",
    "sse",
    "status",
    "storm",
    "stream",
    "tls-resume",
    "token-file",
];

/// Those of floodtest that the rig gives by itself, or has its own keys for.
pub(crate) const FLOODTEST_GIVEN: &[&str] = &[
    "connections",
    "count",
    "expect",
    "for",
    "hold",
    "json",
    "log-interval",
    "out",
    "plan",
    "rate",
    "report",
    "sent",
    "urls",
];

/// Those of msggen.
pub(crate) const MSGGEN: &[&str] = &[
    "ack",
    "allow-late",
    "answer",
    "batch",
    "binary",
    "body",
    "ca",
    "connections",
    "distribution",
    "followers",
    "header",
    "ids",
    "in-flight",
    "insecure",
    "max",
    "message",
    "method",
    "metrics",
    "ok",
    "on-open",
    "protocol",
    "reached",
    "ready",
    "reconnect",
    "seed",
    "server",
    "size",
    "timeout",
    "to",
    "token-file",
    "unordered",
];

/// Those of msggen that the rig gives by itself, or has its own keys for.
pub(crate) const MSGGEN_GIVEN: &[&str] = &[
    "expect",
    "interval",
    "json",
    "log-interval",
    "num",
    "out",
    "report",
    "sent",
    "sources",
    "stamp",
];

/// Those of memlog.
pub(crate) const MEMLOG: &[&str] = &["rotate"];

/// Those of memlog that the rig gives by itself, or has its own keys for.
pub(crate) const MEMLOG_GIVEN: &[&str] = &[
    "for", "host", "interval", "listen", "log", "name", "pid", "plot", "port", "quiet", "size",
    "title", "tree",
];

/// Figures that only msggen has, by the beginnings of their names.
const OF_MSGGEN: &[&str] = &[
    "achieved_per_s",
    "answered",
    "followers",
    "late",
    "lateness",
    "order_wait",
    "reached",
    "send_from_due",
    "send_from_send",
    "sent",
    "unanswered",
    "void",
];

/// What puts an expectation to msggen where floodtest has a figure of the same name.
const TO_MSGGEN: &str = "msggen.";

/// Who has the figure of an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judge {
    /// floodtest.
    Floodtest,
    /// msggen, which takes it in this form.
    Msggen(String),
    /// The rig, of the whole run.
    Rig,
}

/// Who has the figure that `expectation` is about.
pub(crate) fn judge_of(expectation: &str) -> Judge {
    if let Some(rest) = expectation.strip_prefix(TO_MSGGEN) {
        return Judge::Msggen(rest.to_owned());
    }
    let name = reports::expect::name_of(expectation);
    if reports::run::is_figure_of_run(name) {
        return Judge::Rig;
    }
    let family = name.split('.').next().unwrap_or(name);
    if OF_MSGGEN.contains(&family) {
        Judge::Msggen(expectation.to_owned())
    } else {
        Judge::Floodtest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_goes_to_whoever_has_the_figure() {
        assert_eq!(judge_of("lost=0"), Judge::Floodtest);
        assert_eq!(judge_of("delivery_from_due.p99<50ms"), Judge::Floodtest);
        assert_eq!(judge_of("late<5"), Judge::Msggen("late<5".to_owned()));
        assert_eq!(judge_of("msggen.failed=0"), Judge::Msggen("failed=0".to_owned()));
        assert_eq!(judge_of("server.rss_per_connection<=5000"), Judge::Rig);
    }
}
