//! IP addresses as four 32-bit words in the byte order of the wire.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as both sides of the kernel boundary store it.
///
/// The words hold the bytes in the order of the wire, whatever the machine's byte order is; an
/// IPv4 address is in the first, the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    words: [u32; 4],
    ipv6: bool,
}

impl Address {
    /// The least of all addresses in their order.
    pub const MIN: Self = Self { words: [0; 4], ipv6: false };

    /// The words; see the type.
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.words
    }

    /// Whether this is an IPv6 address.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// The address as an IPv6 one in two words as they lie in memory: an IPv4 address under its
    /// mapped prefix, RFC 4291 section 2.5.5.2. The form in which keys of prefixes have it.
    #[inline(always)]
    #[must_use]
    pub const fn mapped(&self) -> [u64; 2] {
        let [a, b, c, d] = self.words;
        if self.ipv6 {
            [join(a, b), join(c, d)]
        } else {
            [0, join(u32::from_ne_bytes([0, 0, 0xff, 0xff]), a)]
        }
    }

    /// An address from its words.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4], ipv6: bool) -> Self {
        Self { words, ipv6 }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => {
                Self { words: [u32::from_ne_bytes(v4.octets()), 0, 0, 0], ipv6: false }
            }
            IpAddr::V6(v6) => Self { words: words(v6.octets()), ipv6: true },
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.ipv6 {
            Self::V6(Ipv6Addr::from(octets(address.words)))
        } else {
            Self::V4(Ipv4Addr::from(address.words[0].to_ne_bytes()))
        }
    }
}

/// Two words as they lie in memory, as one.
#[inline(always)]
#[must_use]
pub const fn join(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

/// Sixteen bytes of the wire as four words.
#[inline(always)]
#[must_use]
pub const fn words(octets: [u8; 16]) -> [u32; 4] {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = octets;
    [
        u32::from_ne_bytes([a0, a1, a2, a3]),
        u32::from_ne_bytes([b0, b1, b2, b3]),
        u32::from_ne_bytes([c0, c1, c2, c3]),
        u32::from_ne_bytes([d0, d1, d2, d3]),
    ]
}

/// The reverse of [`words`].
#[inline(always)]
#[must_use]
pub const fn octets(words: [u32; 4]) -> [u8; 16] {
    let [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]] = [
        words[0].to_ne_bytes(),
        words[1].to_ne_bytes(),
        words[2].to_ne_bytes(),
        words[3].to_ne_bytes(),
    ];
    [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_way_there_and_back() {
        for text in ["10.200.0.1", "0.0.0.0", "2001:db8::1", "::"] {
            let address: IpAddr = text.parse().expect("test address");
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
    }
}
