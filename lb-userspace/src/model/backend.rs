//! A server behind a service.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use lb_common::Forward;
use serde::{Deserialize, Serialize};

use super::{ServiceName, Vip};

/// A share of traffic in proportion to the other backends' weights; 0 takes no new flows.
pub type Weight = u16;

/// Which of a service's backends serve: those with the lowest number of which any does.
pub type Priority = u8;

/// The weight of a backend that names none.
pub const DEFAULT_WEIGHT: Weight = 100;

/// A checked backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its own address.
    pub address: IpAddr,
    /// Its share.
    #[serde(default = "default_weight")]
    pub weight: Weight,
    /// Its port, where packets are translated; 0 is the one that clients reach.
    #[serde(default, skip_serializing_if = "is_none")]
    pub port: u16,
    /// When its turn comes, see [`super::Scheduler::PrimaryBackup`].
    #[serde(default, skip_serializing_if = "is_none")]
    pub priority: Priority,
}

fn is_none<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn default_weight() -> Weight {
    DEFAULT_WEIGHT
}

/// Why an address cannot be a backend's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBackend {
    /// `0.0.0.0` or `::`.
    #[error("the unspecified address is nobody's")]
    Unspecified,
    /// `127.0.0.0/8` or `::1`.
    #[error("a loopback address is not reachable from here")]
    Loopback,
    /// A group, or all machines.
    #[error("a multicast or broadcast address is not one machine's")]
    Multicast,
    /// The service's own address.
    #[error("this is the address of the service itself")]
    Vip,
    /// An address of the service's prefix.
    #[error("lies within the service's own prefix {0}")]
    Prefix(IpNet),
    /// Translation does not go from one IP version to the other.
    #[error("forward = \"nat\" needs backends of the same family as the service")]
    Family,
}

/// What of a service decides which addresses its backends may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendRule {
    /// Address that clients reach.
    pub vip: Vip,
    /// How packets get to the backends.
    pub forward: Forward,
}

impl BackendRule {
    /// Refuses addresses to which no traffic may be sent, wherever they come from.
    pub fn check(self, address: IpAddr) -> Result<(), BadBackend> {
        let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() {
            Err(BadBackend::Unspecified)
        } else if address.is_loopback() {
            Err(BadBackend::Loopback)
        } else if address.is_multicast() || is_broadcast {
            Err(BadBackend::Multicast)
        } else if self.vip.holds(address) {
            Err(match self.vip {
                Vip::Address(_) => BadBackend::Vip,
                Vip::Prefix(prefix) => BadBackend::Prefix(prefix),
            })
        } else if self.forward == Forward::Nat && address.is_ipv6() != self.vip.is_ipv6() {
            Err(BadBackend::Family)
        } else {
            Ok(())
        }
    }
}

/// What names a backend: `SERVICE/ADDRESS`. `::ffff:10.0.1.11` is another way to write `10.0.1.11`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendName {
    /// Its service.
    pub service: ServiceName,
    /// Its own address.
    pub address: IpAddr,
}

/// Text that names no backend.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` does not name a backend: write SERVICE/ADDRESS, as in web/10.0.1.11")]
pub struct BadBackendName(String);

impl FromStr for BackendName {
    type Err = BadBackendName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (service, address) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            Some(Self { service: service.parse().ok()?, address: address.to_canonical() })
        };
        parse().ok_or_else(|| BadBackendName(text.escape_debug().take(120).collect()))
    }
}

impl TryFrom<String> for BackendName {
    type Error = BadBackendName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BackendName> for String {
    fn from(name: BackendName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_there_and_back() {
        for text in ["web/10.0.1.11", "a.b-c_d/2001:db8::1"] {
            assert_eq!(text.parse::<BackendName>().expect("valid").to_string(), text);
        }
        let mapped: BackendName = "web/::ffff:10.0.1.11".parse().expect("valid");
        assert_eq!(mapped.to_string(), "web/10.0.1.11");
        for text in ["web", "web/", "/10.0.0.1", "we b/10.0.0.1", "web/10.0.0.1:80", ""] {
            assert!(text.parse::<BackendName>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_that_nobody_may_have() {
        let rule = rule("10.200.0.1", Forward::L2);
        for text in
            ["0.0.0.0", "127.0.0.1", "::1", "224.0.0.1", "255.255.255.255", "ff02::1", "10.200.0.1"]
        {
            assert!(rule.check(text.parse().expect("address")).is_err(), "{text}");
        }
        for text in ["10.0.1.11", "fd00:1::11"] {
            assert_eq!(rule.check(text.parse().expect("address")), Ok(()));
        }
    }

    #[test]
    fn an_address_of_the_prefix_is_told_apart_from_the_services_own() {
        let rule = rule("10.200.0.0/24", Forward::L2);
        let error = rule.check("10.200.0.9".parse().expect("address")).expect_err("its own");
        assert_eq!(error.to_string(), "lies within the service's own prefix 10.200.0.0/24");
    }

    #[test]
    fn translation_needs_one_ip_version() {
        for (vip, backend, is_good) in [
            ("10.200.0.1", "10.0.1.11", true),
            ("10.200.0.1", "fd00:1::11", false),
            ("fd00:200::1", "fd00:1::11", true),
            ("fd00:200::1", "10.0.1.11", false),
        ] {
            let found = rule(vip, Forward::Nat).check(backend.parse().expect("address"));
            let expected = if is_good { Ok(()) } else { Err(BadBackend::Family) };
            assert_eq!(found, expected, "{vip} {backend}");
        }
    }

    fn rule(vip: &str, forward: Forward) -> BackendRule {
        BackendRule { vip: vip.parse().expect("address"), forward }
    }
}
