//! The check that a backend answers an HTTP request as expected.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hyper::{
    Request, StatusCode, Uri,
    header::{CONNECTION, HOST, HeaderValue, USER_AGENT},
    http::uri::{Authority, Scheme},
};

use super::{
    Budget,
    host::in_url,
    http1, http2,
    tls::{self, Within},
};
use crate::{
    health::{CheckFailure, Endpoint, failure::cut},
    model::{HttpProbe, HttpVersion},
};

/// What we call ourselves.
pub(super) const AGENT: &str = concat!("lb/", env!("CARGO_PKG_VERSION"));
/// Most of a body that is looked at.
pub(super) const MOST: usize = 1 << 20;

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// At most [`MOST`] bytes; empty if nobody asked for it.
    pub(super) body: Vec<u8>,
}

/// Sends the request; returns how long the answer took.
pub(super) async fn check(
    endpoint: &Endpoint,
    probe: &HttpProbe,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let request = request(probe, endpoint.remote)?;
    let within = match probe.version {
        HttpVersion::Http1 => Within::Http1,
        HttpVersion::Http2 => Within::Http2,
    };
    let host = probe.host.as_ref().map(Authority::host);
    let stream = tls::open(endpoint, probe.tls.as_ref(), host, within, budget).await?;
    let wants_body = probe.body.is_some();
    let answer = match probe.version {
        HttpVersion::Http1 => http1::ask(stream, request, wants_body, budget).await,
        HttpVersion::Http2 => http2::ask(stream, request, wants_body, budget).await,
    }?;
    judge(probe, &answer)?;
    Ok(budget.spent())
}

fn judge(probe: &HttpProbe, answer: &Answer) -> Result<(), CheckFailure> {
    if !probe.status.holds(answer.status) {
        let said = format!("status {}, expected {}", answer.status, probe.status);
        return Err(CheckFailure::BadStatus(said));
    }
    let unmet = probe.body.as_ref().filter(|pattern| !pattern.matches(&answer.body));
    match unmet {
        Some(pattern) => {
            let pattern = cut(pattern.to_string().as_bytes());
            let said = format!("status {}, but the body lacks {pattern}", answer.status);
            Err(CheckFailure::BadAnswer(said))
        }
        None => Ok(()),
    }
}

fn request(probe: &HttpProbe, remote: SocketAddr) -> Result<Request<()>, CheckFailure> {
    let authority = match &probe.host {
        Some(host) => host.clone(),
        None => usual_host(probe, remote).parse().map_err(impossible)?,
    };
    let mut request = Request::new(());
    *request.method_mut() = probe.method.clone();
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let mut uri = Uri::builder().path_and_query(probe.path.clone());
    match probe.version {
        HttpVersion::Http1 => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(impossible)?;
            request.headers_mut().insert(HOST, host);
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        HttpVersion::Http2 => {
            let scheme = if probe.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            uri = uri.scheme(scheme).authority(authority);
        }
    }
    *request.uri_mut() = uri.build().map_err(impossible)?;
    // Several values of one name, as they were written, in place of our own.
    for name in probe.headers.keys() {
        request.headers_mut().remove(name);
    }
    for (name, value) in &probe.headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// The name that the certificate is to have, or the address, with a port that is not the usual one.
fn usual_host(probe: &HttpProbe, remote: SocketAddr) -> String {
    let named = probe.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let host = match (named, remote.ip()) {
        (Some(name), _) => in_url(name).into_owned(),
        (None, IpAddr::V4(address)) => address.to_string(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
    };
    let usual = if probe.tls.is_some() { 443 } else { 80 };
    if remote.port() == usual { host } else { format!("{host}:{}", remote.port()) }
}

fn impossible(error: impl std::fmt::Display) -> CheckFailure {
    CheckFailure::Impossible(format!("the request cannot be made: {error}"))
}

#[cfg(test)]
mod tests;
