//! Both ends of a packet, as a key of `TRANSLATIONS`.

use crate::{
    address::{self, Address},
    packet::Packet,
};

/// Both ends of a packet, as a key of `TRANSLATIONS`: 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source and destination address: the words of [`crate::Address`] in pairs, since the verifier
    /// wants what is stored on the stack to be aligned, and the compiler stores words in pairs.
    pub source: [u64; 2],
    /// See `source`.
    pub destination: [u64; 2],
    /// Source and destination port as numbers, `source | destination << 16`; of echo packets, the
    /// identifier on the requester's side and zero on the other.
    pub ports: u32,
    /// Protocol number, 6 or 4 for the family, and a mark of answers:
    /// `protocol | version << 8 | answer << 16`.
    pub protocol: u32,
}

/// The mark of what backends send, so that a backend that is a client too is never mistaken.
const ANSWER: u32 = 1 << 16;

impl Tuple {
    /// What a client's packet has.
    #[inline(always)]
    pub(super) fn of_request(packet: &Packet) -> Self {
        let version = if packet.ipv6 { 6 } else { 4 };
        Self {
            source: pairs(packet.client().words()),
            destination: pairs(packet.key.words()),
            ports: u32::from(packet.client_port()) | u32::from(packet.key.port()) << 16,
            protocol: u32::from(packet.key.protocol()) | version << 8,
        }
    }

    /// What a backend's packet has.
    #[inline(always)]
    pub(super) fn of_answer(packet: &Packet) -> Self {
        let tuple = Self::of_request(packet);
        Self { protocol: tuple.protocol | ANSWER, ..tuple }
    }

    /// What packets have that go the other way.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ports: self.ports.rotate_left(16),
            protocol: self.protocol ^ ANSWER,
        }
    }

    /// Whether each is that of packets that go the other way.
    #[inline(always)]
    #[must_use]
    pub const fn is_reverse_of(&self, other: &Self) -> bool {
        let ([a, b], [c, d]) = (self.source, self.destination);
        let ([e, f], [g, h]) = (other.destination, other.source);
        a == e
            && b == f
            && c == g
            && d == h
            && self.ports == other.ports.rotate_left(16)
            && self.protocol == other.protocol ^ ANSWER
    }

    /// Whether it is that of a backend's packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        self.protocol & ANSWER != 0
    }

    /// Number of the protocol: TCP, UDP, ICMP or ICMPv6.
    #[inline(always)]
    #[must_use]
    pub const fn protocol_number(&self) -> u8 {
        self.protocol as u8
    }

    /// Whether it is of IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        (self.protocol >> 8) as u8 == 6
    }

    /// Source port, or the identifier of an echo request.
    #[inline(always)]
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        self.ports as u16
    }

    /// Destination port, or the identifier of an echo reply.
    #[inline(always)]
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// The source's address.
    #[must_use]
    pub const fn source_address(&self) -> Address {
        Address::from_words(words(self.source), self.is_ipv6())
    }

    /// The destination's address.
    #[must_use]
    pub const fn destination_address(&self) -> Address {
        Address::from_words(words(self.destination), self.is_ipv6())
    }
}

/// The words of an address in pairs, as a [`Tuple`] has them.
#[inline(always)]
#[must_use]
pub const fn pairs(words: [u32; 4]) -> [u64; 2] {
    let [a, b, c, d] = words;
    [address::join(a, b), address::join(c, d)]
}

/// The reverse of [`pairs`].
#[must_use]
pub const fn words(pairs: [u64; 2]) -> [u32; 4] {
    address::words(octets(pairs))
}

/// The bytes of the wire.
#[inline(always)]
pub(super) const fn octets(pairs: [u64; 2]) -> [u8; 16] {
    let [[a0, a1, a2, a3, a4, a5, a6, a7], [b0, b1, b2, b3, b4, b5, b6, b7]] =
        [pairs[0].to_ne_bytes(), pairs[1].to_ne_bytes()];
    [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7]
}

/// The bytes of an IPv4 address.
#[inline(always)]
pub(super) const fn octets_ipv4(pairs: [u64; 2]) -> [u8; 4] {
    let [a, b, c, d, ..] = pairs[0].to_ne_bytes();
    [a, b, c, d]
}
