//! Keys of HTTP checks.

use hyper::{
    HeaderMap, Method,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
    },
    http::uri::{Authority, PathAndQuery},
};
use toml::Value;

use super::table::Table;
use crate::{
    config::check::fields::{Checked, fault, one_of},
    model::{HttpProbe, HttpVersion, StatusSet, TlsOptions},
};

/// The request of a table, encrypted if there are options for that.
pub(super) fn http(table: &Table, tls: Option<TlsOptions>) -> Checked<HttpProbe> {
    let raw = &table.raw;
    let usual = HttpProbe::default();
    let method = method(table)?;
    let body = table.parsed(raw.body.as_ref(), "body")?;
    if let (&Method::HEAD, Some(at)) = (&method, &raw.body) {
        return Err(table.fault(at, "body", "an answer to HEAD has no body"));
    }
    Ok(HttpProbe {
        method,
        path: path(table)?.unwrap_or(usual.path),
        host: host(table)?,
        headers: headers(table)?,
        status: status(table)?.unwrap_or(usual.status),
        body,
        version: one_of(
            raw.http.clone(),
            &table.field("http"),
            &[("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)],
            usual.version,
        )?,
        tls,
    })
}

fn method(table: &Table) -> Checked<Method> {
    let Some(at) = &table.raw.method else { return Ok(Method::GET) };
    let method = Method::from_bytes(at.get_ref().as_bytes()).ok();
    method
        .filter(|method| *method != Method::CONNECT && !at.get_ref().contains(char::is_lowercase))
        .ok_or_else(|| table.fault(at, "method", "must be a method such as \"GET\" or \"HEAD\""))
}

fn path(table: &Table) -> Checked<Option<PathAndQuery>> {
    let Some(at) = &table.raw.path else { return Ok(None) };
    let path = at.get_ref().parse().ok();
    let path = path.filter(|_| at.get_ref().starts_with('/') && !at.get_ref().contains('#'));
    path.map(Some).ok_or_else(|| {
        table.fault(at, "path", format!("`{}` is not a path such as \"/health\"", at.get_ref()))
    })
}

fn host(table: &Table) -> Checked<Option<Authority>> {
    let Some(at) = &table.raw.host else { return Ok(None) };
    let host: Option<Authority> = at.get_ref().parse().ok();
    let host = host.filter(|host| !host.as_str().contains('@') && !host.host().is_empty());
    host.map(Some).ok_or_else(|| {
        let message = format!("`{}` is not a host such as \"www.example.com\"", at.get_ref());
        table.fault(at, "host", message)
    })
}

/// Headers that the protocol itself needs, and what to say of them.
const OURS: [(HeaderName, &str); 6] = [
    (HOST, "write `host` for it"),
    (CONNECTION, "each check is a connection of its own"),
    (CONTENT_LENGTH, "the request has no body"),
    (TRANSFER_ENCODING, "the request has no body"),
    (TE, "the answer is taken as it is"),
    (UPGRADE, "nothing else than HTTP is spoken"),
];

fn headers(table: &Table) -> Checked<HeaderMap> {
    let mut headers = HeaderMap::new();
    let written = table.raw.headers.iter().flat_map(|headers| headers.get_ref());
    for (name, at) in written {
        let field = table.field(&format!("headers.{name}"));
        let name: HeaderName =
            name.parse().map_err(|_| fault(at, &field, "is not the name of a header"))?;
        if let Some((_, instead)) = OURS.iter().find(|(ours, _)| *ours == name) {
            return Err(fault(at, &field, format!("cannot be set: {instead}")));
        }
        let value: HeaderValue = at
            .get_ref()
            .parse()
            .map_err(|_| fault(at, &field, "a header's value has no control characters"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn status(table: &Table) -> Checked<Option<StatusSet>> {
    let Some(at) = &table.raw.status else { return Ok(None) };
    let text = match at.get_ref() {
        Value::Integer(code) => code.to_string(),
        Value::String(text) => text.clone(),
        other => other.type_str().to_owned(),
    };
    text.parse().map(Some).map_err(|error| table.fault(at, "status", error))
}
