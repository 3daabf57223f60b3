//! Why a host does not do what it is to.

use reports::remote::RemoteHost;

/// Why a host does not do what it is to: which, the cause, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing can be started that would reach it.
    #[error("cannot reach {host}: there is no ssh on PATH; install it (Debian: openssh-client)")]
    NoSsh {
        /// The host.
        host: RemoteHost,
    },
    /// ssh did not get there.
    #[error("cannot reach {host}: {said}; see that `ssh {} true` works here", host.typed())]
    Unreachable {
        /// The host.
        host: RemoteHost,
        /// What ssh says.
        said: String,
    },
    /// It has no memlog.
    #[error("there is no memlog on {host}, on the PATH that ssh finds there; copy it: `{copy}`")]
    NoProgram {
        /// The host.
        host: RemoteHost,
        /// How to.
        copy: String,
    },
    /// It has another memlog.
    #[error("memlog on {host} is {theirs}, and here {ours}; use the same on both: `{copy}`")]
    OtherVersion {
        /// The host.
        host: RemoteHost,
        /// The version there, or what else is known of it.
        theirs: String,
        /// The version here.
        ours: &'static str,
        /// How to copy this one there.
        copy: String,
    },
    /// Something else speaks first.
    #[error(
        "{host} printed \"{line}\" before memlog spoke there; let its shell print nothing where \
         nobody types, as ~/.bashrc does behind `[[ $- == *i* ]] || return`"
    )]
    Banner {
        /// The host.
        host: RemoteHost,
        /// The first line of it.
        line: String,
    },
    /// memlog there ended before it spoke.
    #[error(
        "memlog on {host} did not answer: {how}; see what `ssh {} memlog --version` says",
        host.typed()
    )]
    Silent {
        /// The host.
        host: RemoteHost,
        /// How it ended.
        how: String,
    },
    /// memlog there could not begin.
    #[error("{host}: {said}")]
    There {
        /// The host.
        host: RemoteHost,
        /// Why.
        said: String,
    },
    /// It was told to end before it began.
    #[error("told to end before {host} answered")]
    Told {
        /// The host.
        host: RemoteHost,
    },
}
