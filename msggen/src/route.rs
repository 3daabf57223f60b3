//! Where messages go, as it is given on the command line.

use std::path::Path;
use std::str::FromStr;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::error::Error;
use crate::form::{Form, Wants};
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
    },
    /// To any other HTTP servers.
    Foreign {
        /// The URLs of their requests, each with one that it became in a trial; at least one.
        urls: Vec<(Template, Url)>,
        /// The rest of their requests.
        form: Form,
    },
}

impl Route {
    /// The control doors that were given.
    pub fn control(servers: &[String], batch: usize) -> Result<Self, Error> {
        let servers = servers.iter().map(|text| parse_server(text)).collect::<Result<_, _>>()?;
        Ok(Self::Control { servers, batch })
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
            let template = Template::of_url(url).map_err(error)?;
            let sample = check_to(&template, &form, text).map_err(error)?;
            Ok((template, sample))
        };
        Ok(Self::Foreign { urls: urls.iter().map(one).collect::<Result<_, Error>>()?, form })
    }
}

impl Route {
    /// Whether any target has an `https` URL.
    pub fn has_tls(&self) -> bool {
        match self {
            Self::Control { servers, .. } => servers.iter().any(|it| it.scheme() == "https"),
            Self::Foreign { urls, .. } => urls.iter().any(|(_, it)| it.scheme() == "https"),
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
        }
    }

    /// Whether answers say whom messages reached.
    pub fn tells_reach(&self) -> bool {
        match self {
            Self::Control { .. } => true,
            Self::Foreign { form, .. } => form.wants.reached.is_some(),
        }
    }

    /// The targets as they were given.
    pub fn targets(&self) -> Vec<String> {
        match self {
            Self::Control { servers, .. } => servers.iter().map(ToString::to_string).collect(),
            Self::Foreign { urls, .. } => urls.iter().map(|(url, _)| url.to_string()).collect(),
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
