//! The check that a backend says of itself, by gRPC, that it works: `Check` of
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>, framed as in
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Its two messages have one
//! field each, so they are written and read here.

use std::time::Duration;

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT},
};

use super::{
    Budget,
    host::in_url,
    http::AGENT,
    http2,
    tls::{self, Within},
};
use crate::{
    health::{CheckFailure, Endpoint, failure::cut},
    model::GrpcProbe,
};

/// Most of an answer, whose message has two bytes.
const MOST: usize = 4 * 1024;
/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Tag of the first field of a message where that is text.
const TEXT: u8 = 1 << 3 | 2;
/// The same where that is a number.
const NUMBER: u8 = 1 << 3;

/// Asks; returns how long the answer took.
pub(super) async fn check(
    endpoint: &Endpoint,
    probe: &GrpcProbe,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let request = request(probe, endpoint)?;
    let stream = tls::open(endpoint, probe.tls.as_ref(), None, Within::Http2, budget).await?;
    let question = Some(question(&probe.service));
    let (head, body, trailers) =
        http2::exchange(stream, request, question, Some(MOST), budget).await?;
    judge(&head, &body, &trailers)?;
    Ok(budget.spent())
}

fn request(probe: &GrpcProbe, endpoint: &Endpoint) -> Result<Request<()>, CheckFailure> {
    let name = probe.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let uri = Uri::builder()
        .scheme(if probe.tls.is_some() { "https" } else { "http" })
        .authority(
            name.map_or_else(|| endpoint.remote.to_string(), |name| in_url(name).into_owned()),
        )
        .path_and_query("/grpc.health.v1.Health/Check")
        .build()
        .map_err(|error| CheckFailure::Impossible(format!("the request: {error}")))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// `HealthCheckRequest { service }` as a message in its frame.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(TEXT);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    // A name in a configuration, far below 4 GiB.
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

fn put_varint(into: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn judge(head: &Response<()>, body: &[u8], trailers: &HeaderMap) -> Result<(), CheckFailure> {
    if head.status() != StatusCode::OK {
        return Err(CheckFailure::BadStatus(format!("HTTP status {}", head.status())));
    }
    // An answer without a message has its status in the head.
    let status = trailers.get("grpc-status").or_else(|| head.headers().get("grpc-status"));
    match status.map(HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(code) => {
            let message =
                trailers.get("grpc-message").or_else(|| head.headers().get("grpc-message"));
            return Err(CheckFailure::BadStatus(grpc_status(code, message)));
        }
        None => return Err(CheckFailure::BadAnswer("what came is not gRPC".to_owned())),
    }
    match serving_status(body) {
        Some(1) => Ok(()),
        Some(0) => Err(CheckFailure::BadStatus("it says UNKNOWN".to_owned())),
        Some(2) => Err(CheckFailure::BadStatus("it says NOT_SERVING".to_owned())),
        Some(3) => Err(CheckFailure::BadStatus("it says SERVICE_UNKNOWN".to_owned())),
        Some(other) => Err(CheckFailure::BadStatus(format!("it says {other}"))),
        None => Err(CheckFailure::BadAnswer("its gRPC message cannot be read".to_owned())),
    }
}

fn grpc_status(code: &[u8], message: Option<&HeaderValue>) -> String {
    let name = match code {
        b"4" => " DEADLINE_EXCEEDED",
        b"5" => " NOT_FOUND: it does not know the service that is asked about",
        b"7" => " PERMISSION_DENIED",
        b"12" => " UNIMPLEMENTED: it has no health service",
        b"13" => " INTERNAL",
        b"14" => " UNAVAILABLE",
        b"16" => " UNAUTHENTICATED",
        _ => "",
    };
    let message = message.map(|message| format!(" (\"{}\")", cut(message.as_bytes())));
    format!("gRPC status {}{name}{}", cut(code), message.unwrap_or_default())
}

/// The field of `HealthCheckResponse { status }` in its frame.
fn serving_status(frame: &[u8]) -> Option<u8> {
    let (prefix, message) = frame.split_at_checked(PREFIX)?;
    let is_whole = prefix[1..] == (message.len() as u32).to_be_bytes();
    match message {
        _ if prefix[0] != 0 || !is_whole => None,
        // A number that is 0 is left out.
        [] => Some(0),
        [NUMBER, status @ 0..0x80] => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
