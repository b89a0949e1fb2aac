//! The keys of the far end's lists.

use crate::address::{self, Address};

/// The prefix of a load balancer as a key of `DECAP_SOURCES`: IP version, then address.
///
/// The address is in words of 64 bits so that the compiler writes it in the units in which it lies
/// aligned behind the map's own 32-bit prefix length; the verifier refuses others on the stack.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefix {
    version: u32,
    address: [u64; 2],
}

impl SourcePrefix {
    /// Length of a whole key in bits.
    pub const BITS: u32 = 160;
    /// Bits before those of the address.
    pub const VERSION_BITS: u32 = 32;

    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: &Address) -> Self {
        let [a, b, c, d] = address.words();
        Self {
            version: if address.is_ipv6() { 6 } else { 4 },
            address: [address::join(a, b), address::join(c, d)],
        }
    }
}

/// An address as a key of `DECAP_ADDRESSES`: the IPv4 ones under their mapped prefix, RFC 4291
/// section 2.5.5.2.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress([u32; 4]);

impl LocalAddress {
    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: &Address) -> Self {
        let words = address.words();
        if address.is_ipv6() {
            Self(words)
        } else {
            Self([0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), words[0]])
        }
    }
}

/// What is known of an address in `DECAP_ADDRESSES`, as bits of its value.
pub mod known {
    /// This machine has it: tunnels may end there.
    pub const OWN: u32 = 1;
    /// Tunnelled packets may be aimed at it.
    pub const TARGET: u32 = 2;
}
