//! VLAN tags.

use super::ETHERNET;

/// One tag between the hardware addresses and the type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`Tag::CUSTOMER`] or [`Tag::SERVICE`].
    pub ether_type: u16,
    /// VLAN identifier, and priority in the upper four bits.
    pub control: u16,
}

impl Tag {
    /// IEEE 802.1Q.
    pub const CUSTOMER: u16 = 0x8100;
    /// IEEE 802.1ad, the outer of two ("QinQ").
    pub const SERVICE: u16 = 0x88a8;
    /// Bytes that a tag adds.
    pub const LEN: usize = 4;

    /// A customer's tag.
    #[must_use]
    pub const fn customer(control: u16) -> Self {
        Self { ether_type: Self::CUSTOMER, control }
    }

    /// A provider's tag.
    #[must_use]
    pub const fn service(control: u16) -> Self {
        Self { ether_type: Self::SERVICE, control }
    }
}

/// The frame with tags, the outermost first.
#[must_use]
pub fn tagged(frame: &[u8], tags: &[Tag]) -> Vec<u8> {
    let fields = tags.iter().flat_map(|tag| [tag.ether_type, tag.control].map(u16::to_be_bytes));
    let fields: Vec<[u8; 2]> = fields.collect();
    [&frame[..ETHERNET - 2], fields.as_flattened(), &frame[ETHERNET - 2..]].concat()
}

/// Where the IP header of a frame with any number of tags starts.
#[must_use]
pub fn ip_offset(frame: &[u8]) -> usize {
    let mut offset = ETHERNET;
    while let Some([high, low]) = frame.get(offset - 2..offset)
        && [Tag::CUSTOMER, Tag::SERVICE].contains(&u16::from_be_bytes([*high, *low]))
    {
        offset += Tag::LEN;
    }
    offset
}
