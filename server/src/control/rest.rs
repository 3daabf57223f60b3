//! What is left to be done of a request that cannot be answered at once.

use std::pin::Pin;

use crate::router::Id;

/// What a request still waits for.
pub(super) enum Rest {
    /// The rest of a message.
    Message,
    /// Lines.
    Lines,
    /// A send.
    Sending(Sending),
    /// Changes of friends, in lines.
    Changes,
    /// Logging out.
    LogOut(Id),
}

/// What became of a message that had to be waited for.
pub(super) enum Sent {
    /// It reached so many connections of this server.
    Here(u64),
    /// More is to be said of it: status and body of the answer.
    ToAll(&'static str, String),
}

/// A send that has to be waited for.
pub(super) type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;
