//! Why something cannot be asked.

/// Why nothing can be asked with these flags. All are found before the first connect.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// It is a pipe, a folder or a device.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// It is too long.
    #[error("{path} is longer than {max_kib} KiB")]
    TooLarge {
        /// The file.
        path: String,
        /// What it may have.
        max_kib: u64,
    },
    /// A file of header fields is not UTF-8.
    #[error("{path} is not UTF-8 text")]
    NotText {
        /// The file.
        path: String,
    },
    /// It is no header field.
    #[error("{whence}: not a header field{text}; write 'Name: value'")]
    NoHeader {
        /// The flag, or file and line.
        whence: String,
        /// A colon and what was written, where that may be shown.
        text: String,
    },
    /// A value has a line feed or the like, which would begin another field.
    #[error("{whence}: the value of {name} has a line break or another control character")]
    Control {
        /// The flag, or file and line.
        whence: String,
        /// The name of the field.
        name: String,
    },
    /// A field contradicts what floodtest does.
    #[error("{whence}: {name} cannot be set: {why}")]
    Refused {
        /// The flag, or file and line.
        whence: String,
        /// The name of the field.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// A field that a request has once is given twice.
    #[error("{whence}: {name} is given twice")]
    Twice {
        /// The flag, or file and line, of the second.
        whence: String,
        /// The name of the field.
        name: String,
    },
    /// The file of `--token-file` has no token in it.
    #[error("--token-file {path} is empty; write the token into it, and nothing else")]
    EmptyToken {
        /// The file.
        path: String,
    },
    /// What is in it is no token.
    #[error(
        "--token-file {path} does not hold a token: a space, a line break inside or another \
         character that no bearer token has"
    )]
    BadToken {
        /// The file.
        path: String,
    },
    /// The method is no word.
    #[error("--method {0:?} is not a method; write GET, POST or another word")]
    Method(String),
    /// It is no name of a subprotocol.
    #[error("--protocol {0:?} is no name of a subprotocol: letters, digits and some signs")]
    Protocol(String),
    /// A subprotocol is asked for twice.
    #[error("--protocol {0} is given twice")]
    ProtocolTwice(String),
    /// A backslash stands before something that it does not go with.
    #[error("{flag}: unknown escape \"\\{escape}\"; there are \\r \\n \\t \\\\ and \\xHH")]
    Escape {
        /// The flag.
        flag: &'static str,
        /// What stands behind the backslash, the beginning of it.
        escape: String,
    },
    /// There is no WebSocket to say something on.
    #[error(
        "--protocol, --on-open, --answer and --binary are for WebSockets; no URL is ws:// or wss://"
    )]
    NoSockets,
    /// Text frames have to be UTF-8.
    #[error("{flag} is not UTF-8, which text frames are; --binary sends it as it is")]
    NotTextFrame {
        /// The flag.
        flag: &'static str,
    },
    /// It is too long.
    #[error("{flag} has a text of more than 1 MiB")]
    TextTooLong {
        /// The flag.
        flag: &'static str,
    },
    /// It says not what is answered, or to what.
    #[error("--answer {0:?}: write 'PREFIX=>TEXT', with something before =>")]
    NoAnswer(String),
    /// It is too long to be looked for.
    #[error("--answer has a prefix that is longer than 1 KiB")]
    PrefixTooLong,
    /// The method has responses without a body, or none of HTTP.
    #[error("--method {0} cannot be used: its responses have no body to hold")]
    NoBody(String),
}

/// Why a line of the URL file cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has too few fields.
    #[error("no field {{{number}}}, which {used_by} needs; fields follow the URL, after tabs")]
    NoField {
        /// The field's number, from 1 on.
        number: u8,
        /// What needs it.
        used_by: &'static str,
    },
    /// A field is to be sent in the head and has a character that would end it.
    #[error("a control character in field {{{number}}}, which --header sends")]
    Control {
        /// The field's number, from 1 on.
        number: u8,
    },
    /// A field is to be sent as text and is none.
    #[error("field {{{number}}} is not UTF-8, which text frames are; --binary sends it as it is")]
    NotText {
        /// The field's number, from 1 on.
        number: u8,
    },
    /// What is sent on its WebSocket is too long.
    #[error("a text of {used_by} is longer than 16 MiB when it is filled in")]
    TextTooLong {
        /// The flag.
        used_by: &'static str,
    },
    /// A WebSocket is opened by a GET without a body.
    #[error("a WebSocket is opened by a GET without a body, so not with --method or --body")]
    NotGet,
    /// A WebSocket's request has this field of its own.
    #[error("--header Connection beside a ws:// URL, whose request has Connection: Upgrade")]
    Connection,
    /// `--stream` says something else than what the URL leads to.
    #[error("--stream {stream} beside {scheme}:// URLs; the items of a WebSocket are its frames")]
    Stream {
        /// What `--stream` says.
        stream: &'static str,
        /// The scheme of the line.
        scheme: &'static str,
    },
    /// Its body is too long.
    #[error("the body is longer than 16 MiB when it is filled in")]
    TooLong,
    /// Both the URL and a flag say who asks.
    #[error("a name in the URL beside --token-file or --header Authorization; give one of them")]
    TwoNames,
    /// The host depends on the connection's number.
    #[error("{{place}} in the host; hosts are found out about before the first connect")]
    Place,
}
