//! `GET /`: a page that follows an id and shows messages as they come.

use crate::framing::SERVER;

/// The page, with its style and its script: nothing else is loaded.
const PAGE: &str = include_str!("page.html");

/// What the page may do: run its own script, and connect to where it is from. A changed script
/// needs a new hash, which the browser names when it refuses the script.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
                      style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      script-src 'sha256-r0KOBN2rTcs54i9MaWuGSM+d1IK259dIqeDkfVAAH4Y='";

/// The whole response, or its head alone. It is followed by the close.
pub(crate) fn response(with_body: bool) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\nCache-Control: no-cache\r\nContent-Security-Policy: {POLICY}\r\n\
         Connection: close\r\n\r\n{}",
        PAGE.len(),
        if with_body { PAGE } else { "" }
    )
}
