//! Opens and holds many HTTP connections from a URL file, and accounts for all that arrives.
//!
//! - [`url`]: one line of a URL file, and its request.
//! - [`generate`]: `floodtest urls`.
//! - [`decode`]: responses, read strictly and counted by framing; pure.
//! - [`window`]: which message numbers have come; pure.

pub mod decode;
pub mod generate;
pub mod url;
pub mod window;
