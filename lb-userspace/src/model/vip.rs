//! The address that clients reach: one, or all of a prefix.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use lb_common::ServiceKey;
use serde::{Deserialize, Serialize};

/// A checked address that clients reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Vip {
    /// One address.
    Address(IpAddr),
    /// Every address of a prefix of more than one.
    Prefix(IpNet),
}

/// Why an address cannot be a service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVip {
    /// Something else.
    #[error("is not an IPv4 or IPv6 address or prefix")]
    NotAnAddress,
    /// Bits that do not count are set.
    #[error("has bits behind the prefix: write {0}")]
    HostBits(IpNet),
    /// A prefix of one address.
    #[error("is a prefix of one address: write the address alone")]
    Single,
    /// A prefix that would take nearly everything.
    #[error("is too large: at least {0} bits are needed")]
    TooLarge(u8),
    /// An IPv4 prefix that is written as an IPv6 one.
    #[error("is an IPv4 prefix: write it as one")]
    Mapped,
    /// Unspecified, loopback or multicast.
    #[error("this address cannot be a service's")]
    Unusable,
}

impl Vip {
    /// Its address, or the first of the prefix.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Address(address) => *address,
            Self::Prefix(prefix) => prefix.addr(),
        }
    }

    /// Whether it is of IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.address().is_ipv6()
    }

    /// Whether clients reach it by this address.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match self {
            Self::Address(own) => *own == address,
            Self::Prefix(prefix) => prefix.contains(&address),
        }
    }

    /// The key of a service with this address.
    #[must_use]
    pub fn key(&self, port: u16, protocol: u8) -> ServiceKey {
        match self {
            Self::Address(address) => ServiceKey::new((*address).into(), port, protocol),
            Self::Prefix(prefix) => {
                let length = prefix.prefix_len();
                ServiceKey::of_prefix(prefix.addr().into(), length, port, protocol)
            }
        }
    }

    fn of_prefix(prefix: IpNet) -> Result<Self, BadVip> {
        /// Shorter ones hold the addresses of others, and of the balancer itself.
        const LEAST_BITS: [u8; 2] = [8, 16];

        let is_ipv6 = prefix.addr().is_ipv6();
        let least = LEAST_BITS[usize::from(is_ipv6)];
        if prefix.addr() != prefix.network() {
            return Err(BadVip::HostBits(prefix.trunc()));
        }
        if prefix.prefix_len() == prefix.max_prefix_len() {
            return Err(BadVip::Single);
        }
        if prefix.prefix_len() < least {
            return Err(BadVip::TooLarge(least));
        }
        if is_ipv6 && prefix.addr().to_canonical().is_ipv4() {
            return Err(BadVip::Mapped);
        }
        Ok(Self::Prefix(prefix))
    }
}

impl FromStr for Vip {
    type Err = BadVip;

    /// `::ffff:10.0.0.1` is another way to write `10.0.0.1`; no packet carries it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let vip = match text.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::of_prefix(text.parse().map_err(|_| BadVip::NotAnAddress)?)?,
        };
        let address = vip.address();
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return Err(BadVip::Unusable);
        }
        Ok(vip)
    }
}

impl TryFrom<String> for Vip {
    type Error = BadVip;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Vip> for String {
    fn from(vip: Vip) -> Self {
        vip.to_string()
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => f.pad(&prefix.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vips_survive_the_way_there_and_back() {
        for text in ["10.200.0.1", "10.200.0.0/24", "2001:db8::1", "2001:db8::/32"] {
            assert_eq!(text.parse::<Vip>().expect("valid").to_string(), text);
        }
        let mapped: Vip = "::ffff:10.200.0.1".parse().expect("valid");
        assert_eq!(mapped.to_string(), "10.200.0.1");
    }

    #[test]
    fn what_cannot_be_a_services() {
        for (text, expected) in [
            ("10.200.0", BadVip::NotAnAddress),
            ("10.200.0.0/33", BadVip::NotAnAddress),
            ("10.200.0.1/24", BadVip::HostBits("10.200.0.0/24".parse().expect("a prefix"))),
            ("10.200.0.1/32", BadVip::Single),
            ("2001:db8::1/128", BadVip::Single),
            ("8.0.0.0/7", BadVip::TooLarge(8)),
            ("::/0", BadVip::TooLarge(16)),
            ("::ffff:10.200.0.0/120", BadVip::Mapped),
            ("::/16", BadVip::Unusable),
            ("127.0.0.0/8", BadVip::Unusable),
            ("224.0.0.0/24", BadVip::Unusable),
            ("0.0.0.0", BadVip::Unusable),
        ] {
            assert_eq!(text.parse::<Vip>(), Err(expected), "{text}");
        }
    }
}
