//! Answers of the control door: whole, with a status, JSON most of the time.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use serde_json::json;

/// An answer.
pub(crate) type Response = hyper::Response<Full<Bytes>>;

/// An answer that says why not, in JSON.
pub(crate) fn refusal(status: StatusCode, why: &str) -> Response {
    json_response(status, json!({ "error": why }).to_string())
}

/// 405 with the methods that there are.
pub(crate) fn not_allowed(methods: &'static str) -> Response {
    let mut response =
        refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("this path takes {methods}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = text_response("application/json", body);
    *response.status_mut() = status;
    response
}

/// 200 with a text of some type.
pub(crate) fn text_response(content_type: &'static str, body: String) -> Response {
    let mut response = hyper::Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
