//! Hosts as they stand in URLs: addresses of version 6 in brackets (RFC 3986, section 3.2.2).

use std::{borrow::Cow, net::Ipv6Addr};

/// As it stands in a URL.
pub(super) fn in_url(host: &str) -> Cow<'_, str> {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]").into(),
        Err(_) => host.into(),
    }
}

/// Without the brackets.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_for_version_6_in_urls() {
        for (bare, written) in [
            ("2001:db8::1", "[2001:db8::1]"),
            ("192.0.2.1", "192.0.2.1"),
            ("www.example.com", "www.example.com"),
        ] {
            assert_eq!(in_url(bare), written);
            assert_eq!(bare_host(written), bare);
        }
    }
}
