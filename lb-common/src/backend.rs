//! `BACKENDS`: servers behind services, and how to reach them.

use crate::shared::{SharedU16, SharedU32, SharedU64};

use crate::{
    address::Address,
    checksum,
    forward::{Forward, OUTER_HOP_LIMIT},
};

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
    /// Index of the interface; 0 is unknown.
    pub interface: u32,
    /// Largest IP packet that the interface takes, in bytes.
    pub mtu: u16,
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
    /// [`Forward`] as a number; 0 is an unused entry.
    forward: u8,
    version: u8,
    outer_checksum: u16,
    /// Identifier of the service, see [`crate::Service::id`].
    pub service: u32,
    destination: [u32; 4],
    source: [u32; 4],
}

const _: () = assert!(size_of::<Backend>() == 64);

impl Backend {
    /// An entry whose next hop is not known yet. `source` is the outer source address of tunnels
    /// and has the family of `destination`; `l2` does not use it.
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
            forward: forward as u8,
            version: if destination.is_ipv6() { 6 } else { 4 },
            outer_checksum: outer_checksum(destination, source),
            service,
            destination: destination.words(),
            source: source.words(),
            ..Self::default()
        }
    }

    /// How packets get to this backend; `None` for an unused entry.
    #[inline(always)]
    #[must_use]
    pub const fn forward(&self) -> Option<Forward> {
        Forward::from_number(self.forward)
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
    pub const fn is_ipv6(&self) -> bool {
        self.version == 6
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
    pub const fn address(&self) -> Address {
        Address::from_words(self.destination, self.is_ipv6())
    }

    /// Our address as tunnels show it.
    #[must_use]
    pub const fn source_address(&self) -> Address {
        Address::from_words(self.source, self.is_ipv6())
    }

    /// Sum of the outer IPv4 header's words without its length and type of service.
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
            link: Link { destination: [a, b, c, d, e, f], source: [g, h, i, j, k, l] },
        }
    }

    /// Replaces the next hop. When only its hardware address changes, packets see the old one or
    /// the new one; when the interface changes, they are refused for the few stores between.
    pub fn set_next_hop(&self, next: NextHop) {
        if self.interface() != next.interface {
            self.interface.store(0);
        }
        let [a, b, c, d, e, f] = next.link.destination;
        let [g, h, i, j, k, l] = next.link.source;
        self.link_head.store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
        self.link_tail.store(u32::from_ne_bytes([i, j, k, l]));
        self.mtu.store(next.mtu);
        self.interface.store(next.interface);
    }
}

/// The part of the outer IPv4 header's checksum that is the same for every packet: version and
/// header length, don't-fragment, hop limit and protocol, and the addresses.
fn outer_checksum(destination: Address, source: Address) -> u16 {
    let constant = u32::from(checksum::sum(&[
        0x45,
        0,
        0,
        0,
        0,
        0,
        0x40,
        0,
        OUTER_HOP_LIMIT,
        crate::forward::IP_IN_IP,
    ]));
    let addresses = u32::from(checksum::sum(&destination.words()[0].to_ne_bytes()))
        + u32::from(checksum::sum(&source.words()[0].to_ne_bytes()));
    checksum::fold(constant + addresses)
}
