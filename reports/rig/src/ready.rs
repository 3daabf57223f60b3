//! How it is seen that a server is ready: by what it says, and by an answer.

use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::Process;
use crate::scenario::fill::said;

/// How long one try takes at most to see whether a server is ready.
const READY_TRY: Duration = Duration::from_secs(5);

/// From one try to the next.
pub(crate) const READY_EVERY: Duration = Duration::from_millis(50);

/// A client for http alone. That of a build with msggen in it can do TLS, and would ask for the
/// system's certificates, of which there may be none.
pub(crate) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// Reads lines until one is `pattern`. What it says there, by its name.
pub(crate) async fn says(process: &mut Process, pattern: &str) -> anyhow::Result<(String, String)> {
    loop {
        let line = process.next_line().await?;
        if let Some((key, value)) = said(&line, pattern) {
            return Ok((key, value.to_owned()));
        }
        process.keep(line);
    }
}

/// Tries whether a server answers at a port of this machine, or at a URL, whatever it says there.
pub(crate) async fn try_it(at: &str) -> anyhow::Result<()> {
    if let Ok(port) = at.parse::<u16>() {
        timeout(READY_TRY, TcpStream::connect(("localhost", port)))
            .await
            .context("no connection")??;
        return Ok(());
    }
    let url = reqwest::Url::parse(at).with_context(|| format!("{at} is no URL"))?;
    if url.scheme() != "http" {
        // Whether its certificate is right is for floodtest to say.
        let host = url.host_str().context("it names no host")?.trim_matches(['[', ']']).to_owned();
        let port = match url.scheme() {
            "ws" => Some(80),
            "wss" => Some(443),
            _ => None,
        };
        let port = url.port_or_known_default().or(port).context("it names no port")?;
        timeout(READY_TRY, TcpStream::connect((host, port))).await.context("no connection")??;
        return Ok(());
    }
    let client = client().redirect(reqwest::redirect::Policy::none()).timeout(READY_TRY).build()?;
    client.get(url).send().await?;
    Ok(())
}
