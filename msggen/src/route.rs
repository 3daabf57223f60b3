//! Where messages go, as it is given on the command line.

use std::path::Path;
use std::str::FromStr;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::control::Whom;
use crate::error::Error;
use crate::form::{Form, SocketForm, Wants};
use crate::ids::HIGHEST_ID;
use crate::message::{Draft, Text};
use crate::template::{Filling, Template};

/// Where messages go.
#[derive(Debug, Clone)]
pub enum Route {
    /// To the control doors of Comet servers.
    Control {
        /// Their control doors: `http` or `https`, with a host; at least one.
        servers: Vec<Url>,
        /// Overdue messages that may go in one request; 1 gives each a request of its own.
        batch: usize,
        /// Whether they go to all who follow an id.
        whom: Whom,
    },
    /// To any other HTTP servers.
    Foreign {
        /// The URLs of their requests, each with one that it became in a trial; at least one.
        urls: Vec<(Template, Url)>,
        /// The rest of their requests.
        form: Form,
    },
    /// To WebSockets of any servers.
    Sockets {
        /// Where they are: `ws` or `wss`, with a host; at least one.
        urls: Vec<Url>,
        /// What goes over them.
        form: SocketForm,
    },
}

impl Route {
    /// The control doors that were given.
    pub fn control(servers: &[String], batch: usize, whom: Whom) -> Result<Self, Error> {
        if let (Whom::Followers, [_, second, ..]) = (whom, servers) {
            let why = "--followers goes to one server, the one that has --friends".to_owned();
            return Err(Error::Server { text: second.clone(), why });
        }
        let servers = servers.iter().map(|text| parse_server(text)).collect::<Result<_, _>>()?;
        Ok(Self::Control { servers, batch, whom })
    }

    /// The requests that were given. Each is tried with the messages of `text`: what is a request
    /// for the smallest numbers and for the largest is one for all of them.
    pub fn foreign(
        urls: &[String],
        method: Method,
        headers: Vec<HeaderTemplate>,
        body: Template,
        token: Option<&HeaderValue>,
        wants: Wants,
        text: &Text,
    ) -> Result<Self, Error> {
        let mut fields: Vec<_> = headers.into_iter().map(|it| (it.name, it.value)).collect();
        if let Some(token) = token {
            let token = token.to_str().expect("it was made of text");
            fields.push((AUTHORIZATION, Template::plain(token)));
        }
        let form = Form { method, fields, body, wants };
        let one = |url: &String| {
            let error = |why| Error::To { text: url.clone(), why };
            if is_socket(url) {
                let why = "--to has http and ws URLs; all of them must be of one kind";
                return Err(error(why.to_owned()));
            }
            let template = Template::of_url(url).map_err(error)?;
            let sample = check_to(&template, &form, text).map_err(error)?;
            Ok((template, sample))
        };
        Ok(Self::Foreign { urls: urls.iter().map(one).collect::<Result<_, Error>>()?, form })
    }

    /// The WebSockets that were given.
    pub fn sockets(urls: &[String], form: SocketForm) -> Result<Self, Error> {
        let one =
            |text: &String| socket_url(text).map_err(|why| Error::To { text: text.clone(), why });
        Ok(Self::Sockets { urls: urls.iter().map(one).collect::<Result<_, Error>>()?, form })
    }
}

/// Whether this is the URL of a WebSocket.
pub fn is_socket(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss")
}

/// Reads the URL of a WebSocket.
fn socket_url(text: &str) -> Result<Url, String> {
    if Template::of_url(text)?.plain_text().is_none() {
        let why = "a WebSocket is for messages to all ids, so that its URL has no blanks; write \
                   them into --body";
        return Err(why.to_owned());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "ws" | "wss" if !url.username().is_empty() || url.password().is_some() => {
            Err("a user name is not supported; write --header 'Authorization: …'".to_owned())
        }
        "ws" | "wss" if url.fragment().is_some() => {
            Err("the URL of a WebSocket has no fragment".to_owned())
        }
        "ws" | "wss" => Ok(url),
        _ => Err("--to has http and ws URLs; all of them must be of one kind".to_owned()),
    }
}

impl Route {
    /// Whether any target has an `https` or `wss` URL.
    pub fn has_tls(&self) -> bool {
        match self {
            Self::Control { servers, .. } => servers.iter().any(|it| it.scheme() == "https"),
            Self::Foreign { urls, .. } => urls.iter().any(|(_, it)| it.scheme() == "https"),
            Self::Sockets { urls, .. } => urls.iter().any(|it| it.scheme() == "wss"),
        }
    }

    /// Whether requests have the number of a message among those to its id.
    pub fn has_number(&self) -> bool {
        match self {
            Self::Control { .. } => false,
            Self::Foreign { urls, form } => {
                let fields = form.fields.iter().map(|(_, value)| value);
                let mut all = urls.iter().map(|(url, _)| url).chain(fields).chain([&form.body]);
                all.any(Template::has_number)
            }
            Self::Sockets { form, .. } => form.body.has_number(),
        }
    }

    /// Whether answers say whom messages reached.
    pub fn tells_reach(&self) -> bool {
        match self {
            Self::Control { .. } => true,
            Self::Foreign { form: Form { wants, .. }, .. }
            | Self::Sockets { form: SocketForm { wants, .. }, .. } => wants.reached.is_some(),
        }
    }

    /// To whom a message to an id goes.
    pub fn whom(&self) -> Whom {
        match self {
            Self::Control { whom, .. } => *whom,
            Self::Foreign { .. } | Self::Sockets { .. } => Whom::Id,
        }
    }

    /// Whether servers answer messages.
    pub fn has_answers(&self) -> bool {
        match self {
            Self::Control { .. } | Self::Foreign { .. } => true,
            Self::Sockets { form, .. } => form.ack.is_some(),
        }
    }

    /// The targets as they were given.
    pub fn targets(&self) -> Vec<String> {
        match self {
            Self::Control { servers, .. } => servers.iter().map(ToString::to_string).collect(),
            Self::Foreign { urls, .. } => urls.iter().map(|(url, _)| url.to_string()).collect(),
            Self::Sockets { urls, .. } => urls.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A header as it is given: a name, a colon, and a value with blanks.
#[derive(Debug, Clone)]
pub struct HeaderTemplate {
    /// Its name.
    name: HeaderName,
    /// Its value.
    value: Template,
}

/// Fields that the handshake of a WebSocket writes by itself.
const OF_HANDSHAKE: [&str; 4] = ["host", "upgrade", "connection", "content-length"];

impl HeaderTemplate {
    /// It as a field of the handshake of a WebSocket, which is made before there is any message.
    pub fn of_handshake(&self) -> Result<(HeaderName, HeaderValue), String> {
        let name = &self.name;
        if OF_HANDSHAKE.contains(&name.as_str()) || name.as_str().starts_with("sec-websocket-") {
            let hint = "--protocol offers subprotocols";
            return Err(format!("--header {name}: the handshake has it by itself; {hint}"));
        }
        let plain = self.value.plain_text();
        let plain = plain.ok_or_else(|| {
            format!("--header {name}: a handshake is not for one message, so it has no blanks")
        })?;
        let value = HeaderValue::from_str(&plain);
        let value = value.map_err(|_| format!("--header {name}: it cannot carry this value"))?;
        Ok((self.name.clone(), value))
    }
}

/// `Name: value`.
impl FromStr for HeaderTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
        let name = name.trim().parse().map_err(|_| format!("no header is named \"{name}\""))?;
        Ok(Self { name, value: Template::of_request(value.trim())? })
    }
}

/// Makes requests of the smallest and the largest numbers, and returns the URL of one.
fn check_to(url: &Template, form: &Form, text: &Text) -> Result<Url, String> {
    let try_with = |id, countdown, source| {
        let mut message = String::new();
        let draft = Draft { number: countdown, ..Draft::new(countdown, id, None) };
        text.write(&draft, source, std::time::Instant::now(), None, &mut message);
        let filling = Filling { countdown, id, source, number: countdown, message: &message };
        form.try_request(url, filling).map(|request| request.url().clone())
    };
    let (least, most) = (try_with(1, 1, 0)?, try_with(HIGHEST_ID, u64::MAX, u64::MAX)?);
    match least.scheme() {
        "http" | "https" if least.origin() != most.origin() => {
            Err("its host and port must be the same for all messages".to_owned())
        }
        "http" | "https" if !least.username().is_empty() || least.password().is_some() => {
            Err("a user name is not supported; write --header 'Authorization: …'".to_owned())
        }
        "http" | "https" => Ok(least),
        _ => Err("write http://host:port/path or https://host:port/path".to_owned()),
    }
}

/// Reads the URL of a control door.
fn parse_server(text: &str) -> Result<Url, Error> {
    let error = |why: String| Error::Server { text: text.to_owned(), why };
    // `localhost:8001` would otherwise be a URL of the scheme `localhost`.
    if !text.contains("://") {
        return Err(error(format!("write http://{text}")));
    }
    let url = Url::parse(text).map_err(|cause| error(cause.to_string()))?;
    let why = match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            "a user name is not supported; put the token into a file and name it with --token-file"
        }
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
            "it ends in a query or fragment; write http://host:port"
        }
        "http" | "https" => return Ok(url),
        _ => "write http://host:port or https://host:port",
    };
    Err(error(why.to_owned()))
}

/// Reads the token in the file at `path`, as the header that carries it.
pub fn read_token(path: &Path) -> Result<HeaderValue, Error> {
    let error = |why| Error::Token { path: path.to_owned(), why };
    let content = std::fs::read_to_string(path)
        .map_err(|source| Error::TokenFile { path: path.to_owned(), source })?;
    let token = content.trim();
    if token.is_empty() {
        return Err(error("the file is empty"));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| error("a header cannot carry its content; it should be one line of text"))?;
    header.set_sensitive(true);
    Ok(header)
}
