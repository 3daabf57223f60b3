//! The flags that say what is asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// What is asked on every connection, as flags.
#[derive(Debug, Clone, Default, Args)]
pub struct RequestArgs {
    /// A header field, 'Name: value', or @FILE with one in each line; may be repeated. {1}, {2}, …
    /// are the further fields of the URL's line, separated by tabs; {place} is the connection's
    /// number, from 0 on.
    #[arg(long = "header", value_name = "FIELD|@FILE")]
    pub headers: Vec<String>,

    /// The method of the request.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,

    /// The body of the request, with {1}, {2}, … and {place} as in --header.
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,

    /// File with the body of the request, 1 MiB at most, with {1}, {2}, … and {place} as in
    /// --header.
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    pub body_file: Option<PathBuf>,

    /// File with a token to send as Authorization: Bearer.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Which statuses establish a connection: 200 alone, or every one of success that has a body.
    #[arg(long, value_name = "STATUS", default_value = "200")]
    pub status: Established,

    /// Follow up to so many redirects of a connection [without a number: 5], to hosts that the URL
    /// file names and to IP addresses, and never from https:// to http://.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=20))]
    pub follow: Option<u8>,

    /// What is said on WebSockets.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// What is asked of WebSockets, and said on them, as flags.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "WebSockets (ws:// and wss:// URLs)")]
pub struct SocketArgs {
    /// A subprotocol to ask for, the best first; may be repeated. The server must choose one of
    /// them.
    #[arg(long = "protocol", value_name = "NAME", value_delimiter = ',')]
    pub protocols: Vec<String>,

    /// A message to send when a WebSocket has opened, or @FILE with one; may be repeated, and they
    /// are sent in order. {1}, {2}, … and {place} as in --header; \r \n \t \\ and \xHH for bytes,
    /// which a file has as they are.
    #[arg(long, value_name = "TEXT|@FILE")]
    pub on_open: Vec<String>,

    /// Send TEXT for each message that begins with PREFIX, as '2=>3' answers the pings of
    /// socket.io; may be repeated, and the first that fits is sent. Fields and escapes in TEXT are
    /// as in --on-open.
    #[arg(long = "answer", value_name = "PREFIX=>TEXT")]
    pub answers: Vec<String>,

    /// Send binary frames instead of text.
    #[arg(long)]
    pub binary: bool,
}

/// Which statuses establish a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Established {
    /// 200 alone.
    #[default]
    #[value(name = "200")]
    Ok,
    /// Every one of success but 204 and 205, which have no body.
    #[value(name = "2xx")]
    Success,
}

impl Established {
    /// Whether `status` is one of them.
    pub(crate) fn includes(self, status: u16) -> bool {
        match self {
            Self::Ok => status == 200,
            Self::Success => matches!(status, 200..=203 | 206..=299),
        }
    }
}
