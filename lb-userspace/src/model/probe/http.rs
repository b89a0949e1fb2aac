//! What is asked of a backend's HTTP.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use hyper::{
    HeaderMap, Method, StatusCode,
    http::uri::{Authority, PathAndQuery},
};

use super::{Pattern, TlsOptions};

/// A request and the answer that must come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Its method.
    pub method: Method,
    /// Its path, with the query if there is one.
    pub path: PathAndQuery,
    /// The host that it names; `None` names the address that is asked.
    pub host: Option<Authority>,
    /// Its further headers.
    pub headers: HeaderMap,
    /// What the answer's status must be.
    pub status: StatusSet,
    /// What must be found in the first MiB of the answer's body; `None` reads none of it.
    pub body: Option<Pattern>,
    /// The protocol's version.
    pub version: HttpVersion,
    /// How it is encrypted; `None` where it is not.
    pub tls: Option<TlsOptions>,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: PathAndQuery::from_static("/"),
            host: None,
            headers: HeaderMap::new(),
            status: StatusSet::default(),
            body: None,
            version: HttpVersion::Http1,
            tls: None,
        }
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113), which the server must know how to speak at once.
    Http2,
}

/// Some of the status codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

/// Text that is no such set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be status codes from 100 to 599 and ranges of them, as in \"200-299,401\"")]
pub struct BadStatusSet;

impl StatusSet {
    /// Whether this is one of them.
    #[must_use]
    pub fn holds(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl FromStr for StatusSet {
    type Err = BadStatusSet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = |text: &str| {
            let code: u16 = text.trim().parse().map_err(|_| BadStatusSet)?;
            if (100..=599).contains(&code) { Ok(code) } else { Err(BadStatusSet) }
        };
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let range = code(first)?..=code(last)?;
            if range.is_empty() { Err(BadStatusSet) } else { Ok(range) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_status_codes_are_read_and_shown() {
        let set: StatusSet = "200-299, 401".parse().expect("valid");
        assert_eq!(set.to_string(), "200-299,401");
        for (code, is_in) in [(199, false), (200, true), (299, true), (300, false), (401, true)] {
            assert_eq!(set.holds(StatusCode::from_u16(code).expect("code")), is_in, "{code}");
        }
        for text in ["", "200,", "99", "600", "300-200", "2xx", "200-"] {
            assert_eq!(text.parse::<StatusSet>(), Err(BadStatusSet), "{text}");
        }
    }
}
