//! Who is logged in as what: `login`, `logout` and `send`.
//!
//! Nothing here waits and nothing here knows HTTP: sockets, framing and the poller come in through
//! [`Wire`]. That is what lets the tests try every order of logins, sends and deaths without a
//! server.
//!
//! A connection's row lives in the shard of its first id, and so does that id's index entry: the
//! whole of a send to a connection with one id is one lock. Further ids of a connection are *alias*
//! rows in the shards of those ids. **No two shards are ever locked at once**, so there is no lock
//! order to get wrong; references that are carried from one shard to another name a generation, and
//! a stale one is dropped.

mod backlog;
mod deliver;
mod extras;
mod id;
mod index;
mod listen;
mod meter;
mod presence;
mod relief;
mod room;
mod rows;
mod shard;
mod slices;
mod stats;
mod sweep;
mod tables;
mod wire;

pub use self::id::Id;
pub use self::meter::{Meter, SharedTail};
pub use self::presence::Presence;
pub use self::room::Room;
pub use self::rows::RowRef;
pub use self::slices::{FanOut, LogOut, SLICE};
pub use self::stats::RouterStats;
pub use self::sweep::Sweep;
pub use self::tables::{Router, Sent};
pub use self::wire::{Allowance, Heard, Limits, Ready, Wire};
