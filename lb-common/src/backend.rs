//! `BACKENDS`: servers behind services, and how to reach them.

mod kind;
mod stance;

use crate::{
    address::Address,
    checksum,
    forward::{Forward, IP_IN_IP, OUTER_HOP_LIMIT},
    service::UDP,
    shared::{SharedU16, SharedU32, SharedU64},
};
use kind::Kind;

pub use stance::Stance;

/// In the place of an interface's index: the backend is this machine, and packets for it go to the
/// network stack. Not the index of `lo`, which test runs of the kernel have packets come in by.
pub const HERE: u32 = u32::MAX;

/// Source and destination of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Hardware address of the next hop.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub source: [u8; 6],
}

/// The next hop towards a backend, kept true by the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// Index of the interface; 0 is unknown, [`HERE`] this machine.
    pub interface: u32,
    /// Largest IP packet that the interface takes, in bytes.
    pub mtu: u16,
    /// The VLAN in whose one tag, IEEE 802.1Q, frames leave; 0: under the tags with which they came.
    pub vlan: u16,
    /// Hardware addresses.
    pub link: Link,
}

/// One value of `BACKENDS`: 64 bytes, a cache line.
///
/// A backend entry belongs to one service. All but the next hop is written before any slot names
/// it; the next hop changes in place.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Backend {
    /// Next hop's hardware address and the first two bytes of ours: the part that changes when
    /// another machine takes over the address, replaced in one store.
    link_head: SharedU64,
    link_tail: SharedU32,
    interface: SharedU32,
    mtu: SharedU16,
    generation: SharedU16,
    /// See [`Kind`].
    kind: SharedU16,
    outer_checksum: u16,
    /// Identifier of the service, and above it the stance.
    service: SharedU32,
    destination: [u32; 4],
    source: [u32; 4],
    /// See [`Backend::at_port`].
    port: u16,
    spread: u16,
    #[cfg(feature = "next-layout")]
    more: [u64; 8],
}

const _: () = assert!(size_of::<Backend>() == crate::layout::BACKEND_BYTES);

/// Bits of the service's identifier in the word that holds the stance above them.
const SERVICE: u32 = (1 << STANCE) - 1;
const STANCE: u32 = 24;

impl Backend {
    /// An entry that takes new flows and whose next hop is not known yet. `source` is the outer
    /// source address of tunnels and has the family of `destination`; `l2` does not use it.
    #[must_use]
    pub fn new(
        service: u32,
        generation: u16,
        forward: Forward,
        destination: Address,
        source: Address,
    ) -> Self {
        Self {
            generation: SharedU16::new(generation),
            kind: SharedU16::new(Kind::new(forward, destination.is_ipv6()).word()),
            outer_checksum: outer_checksum(forward, destination, source),
            service: SharedU32::new(service & SERVICE),
            destination: destination.words(),
            source: source.words(),
            ..Self::default()
        }
    }

    /// The entry of a backend with a port: for translation its own, 0 being the service's; for GUE
    /// that of the tunnel.
    #[must_use]
    pub fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The entry of a backend whose tunnels come from many addresses: the bits of `spread`, which
    /// must be zero in `source`, are those of the last 16 of the outer source address that the
    /// flow's hash sets.
    #[must_use]
    pub fn spread(self, spread: u16) -> Self {
        Self { spread, ..self }
    }

    /// See [`Backend::at_port`].
    #[inline(always)]
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// See [`Backend::spread`].
    #[inline(always)]
    #[must_use]
    pub const fn spread_mask(&self) -> u16 {
        self.spread
    }

    /// How packets get to this backend; `None` for an unused entry.
    #[inline(always)]
    #[must_use]
    pub fn forward(&self) -> Option<Forward> {
        self.kind().forward()
    }

    #[inline(always)]
    fn kind(&self) -> Kind {
        Kind::from_word(self.kind.load())
    }

    /// See [`NextHop::vlan`].
    #[inline(always)]
    #[must_use]
    pub fn vlan(&self) -> u16 {
        self.kind().vlan()
    }

    /// Identifier of the service, see [`crate::Service::id`]: below 2^24.
    #[inline(always)]
    #[must_use]
    pub fn service(&self) -> u32 {
        self.service.load() & SERVICE
    }

    /// What the backend does with flows.
    #[inline(always)]
    #[must_use]
    pub fn stance(&self) -> Stance {
        Stance::from_number((self.service.load() >> STANCE) as u8)
    }

    /// Makes packets see another stance, from the next one on.
    pub fn set_stance(&self, stance: Stance) {
        self.service.store(self.service() | (stance as u32) << STANCE);
    }

    /// Counts the uses of this entry: a flow that was remembered under another generation is not
    /// this backend's any more.
    #[inline(always)]
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.generation.load()
    }

    /// Makes all remembered flows of this backend forgotten.
    pub fn forget_flows(&self) {
        self.generation.store(self.generation().wrapping_add(1));
    }

    /// The entry once nobody uses it: only the generation goes on.
    #[must_use]
    pub fn unused(&self) -> Self {
        Self { generation: SharedU16::new(self.generation()), ..Self::default() }
    }

    /// Whether the backend's own address is an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.kind().is_ipv6()
    }

    /// The backend's own address, in words as in [`Address`].
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> &[u32; 4] {
        &self.destination
    }

    /// Our address as tunnels show it, in words as in [`Address`].
    #[inline(always)]
    #[must_use]
    pub const fn source(&self) -> &[u32; 4] {
        &self.source
    }

    /// The backend's own address.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from_words(self.destination, self.is_ipv6())
    }

    /// Our address as tunnels show it.
    #[must_use]
    pub fn source_address(&self) -> Address {
        Address::from_words(self.source, self.is_ipv6())
    }

    /// Sum of the outer IPv4 header's words without its length and type of service, for an IPv4
    /// packet within; over IPv6, the sum of the addresses.
    #[inline(always)]
    #[must_use]
    pub const fn outer_checksum(&self) -> u16 {
        self.outer_checksum
    }

    /// Egress interface; 0 while the next hop is unknown.
    #[inline(always)]
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.interface.load()
    }

    /// Largest IP packet that the interface takes.
    #[inline(always)]
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.load()
    }

    /// The first twelve bytes of frames to this backend.
    #[inline(always)]
    #[must_use]
    pub fn link(&self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.link_head.load().to_ne_bytes();
        let [i, j, k, l] = self.link_tail.load().to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// The next hop as it stands.
    #[must_use]
    pub fn next_hop(&self) -> NextHop {
        let link = self.link();
        let [a, b, c, d, e, f, g, h, i, j, k, l] = link;
        NextHop {
            interface: self.interface(),
            mtu: self.mtu(),
            vlan: self.vlan(),
            link: Link { destination: [a, b, c, d, e, f], source: [g, h, i, j, k, l] },
        }
    }

    /// Replaces the next hop. When only its hardware address changes, packets see the old one or
    /// the new one; when the interface or the VLAN changes, they are refused for the few stores
    /// between.
    pub fn set_next_hop(&self, next: NextHop) {
        if self.interface() != next.interface || self.vlan() != next.vlan {
            self.interface.store(0);
        }
        let [a, b, c, d, e, f] = next.link.destination;
        let [g, h, i, j, k, l] = next.link.source;
        self.link_head.store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
        self.link_tail.store(u32::from_ne_bytes([i, j, k, l]));
        self.mtu.store(next.mtu);
        self.kind.store(self.kind().in_vlan(next.vlan).word());
        self.interface.store(next.interface);
    }
}

/// The part of the outer header's checksum that is the same for every packet: of IPv4 version and
/// header length, don't-fragment, hop limit and protocol, and the addresses; of IPv6 the addresses,
/// which the checksum of UDP covers.
fn outer_checksum(forward: Forward, destination: Address, source: Address) -> u16 {
    let sum = |address: Address| {
        let words = address.words().map(u32::to_ne_bytes);
        u32::from(checksum::sum(words.as_flattened()))
    };
    let addresses = sum(destination) + sum(source);
    if destination.is_ipv6() {
        return checksum::fold(addresses);
    }
    let protocol = if matches!(forward, Forward::Gue) { UDP } else { IP_IN_IP };
    let constant = [0x45, 0, 0, 0, 0, 0, 0x40, 0, OUTER_HOP_LIMIT, protocol];
    checksum::fold(addresses + u32::from(checksum::sum(&constant)))
}
