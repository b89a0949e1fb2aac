//! How the packet core reads and writes a frame, whoever holds the bytes.

use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

/// Ethernet's header. network-types' own has alignment 2, which a frame need not have.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination and source hardware address.
    pub link: [u8; 12],
    ether_type: [u8; 2],
}

impl Ethernet {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// EtherType of IPv4, IANA.
    pub const IPV4: u16 = 0x0800;
    /// EtherType of IPv6, IANA.
    pub const IPV6: u16 = 0x86dd;
    /// EtherType of a customer's VLAN tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// EtherType of a service provider's VLAN tag, IEEE 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8;

    /// A header from its parts.
    #[inline(always)]
    #[must_use]
    pub const fn new(link: [u8; 12], ether_type: u16) -> Self {
        Self { link, ether_type: ether_type.to_be_bytes() }
    }

    /// What follows, to compare with the constants: as one number, since the compiler compares
    /// arrays byte by byte.
    #[inline(always)]
    #[must_use]
    pub const fn ether_type(&self) -> u16 {
        u16::from_be_bytes(self.ether_type)
    }
}

/// Plain bytes that may be viewed in place.
///
/// # Safety
///
/// The type must have alignment 1, no padding, and be valid for every bit pattern.
pub unsafe trait Header: Copy {}

// SAFETY: byte arrays only.
unsafe impl Header for Ethernet {}
// SAFETY: bytes and byte arrays only.
unsafe impl Header for Ipv4Hdr {}
// SAFETY: bytes and byte arrays only.
unsafe impl Header for Ipv6Hdr {}
// SAFETY: byte arrays only.
unsafe impl Header for UdpHdr {}
// SAFETY: bytes.
unsafe impl<const N: usize> Header for [u8; N] {}

const _: () = {
    assert!(align_of::<Ethernet>() == 1 && Ethernet::LEN == 14);
    assert!(align_of::<Ipv4Hdr>() == 1 && size_of::<Ipv4Hdr>() == 20);
    assert!(align_of::<Ipv6Hdr>() == 1 && size_of::<Ipv6Hdr>() == 40);
    assert!(align_of::<UdpHdr>() == 1 && size_of::<UdpHdr>() == 8);
};

/// A frame, starting at its Ethernet header.
///
/// Implemented over packet pointers in the kernel and over a byte vector on the host. Every access
/// is checked against the frame's end; a failed one is `None`, never a panic.
pub trait Frame {
    /// The header at `offset` bytes from the start, if the frame holds all of it.
    fn header<T: Header>(&self, offset: usize) -> Option<&T>;

    /// As [`Frame::header`], to write.
    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T>;

    /// Whether the frame has at least `length` bytes. `length` is at most 65,535 + 64.
    fn holds(&self, length: usize) -> bool;

    /// Cuts the frame off behind `length` bytes; false if it is shorter.
    #[must_use]
    fn truncate(&mut self, length: usize) -> bool;

    /// Adds `bytes` bytes of unspecified content before the start; false if there is no room.
    #[must_use]
    fn grow(&mut self, bytes: usize) -> bool;

    /// Removes `bytes` bytes at the start; false if there are not so many.
    #[must_use]
    fn shrink(&mut self, bytes: usize) -> bool;
}
