//! The headers of a frame, read without the packet core: slowly, and as the RFCs draw them.

use std::ops::Range;

/// EtherTypes of IEEE 802.1Q and 802.1ad tags.
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// An IP packet in a frame, as far as its headers are in it.
#[derive(Clone, Debug)]
pub(super) struct Headers<'a> {
    frame: &'a [u8],
    /// Where the IP header starts: behind Ethernet's and all tags.
    pub(super) ip: usize,
    /// Whether it is an IPv6 packet.
    pub(super) ipv6: bool,
    /// Where the IP header with its options or extension headers ends.
    pub(super) transport: usize,
    /// The protocol there.
    pub(super) protocol: u8,
    /// Where the packet ends, as its header says.
    pub(super) end: usize,
    /// Bytes of the datagram before this fragment's.
    pub(super) fragment_offset: usize,
    /// Whether it is a piece of a datagram.
    pub(super) is_fragment: bool,
}

impl<'a> Headers<'a> {
    /// The headers of a frame; `None` if it holds no IP header.
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
        let mut ether_type = 12;
        while TAGS.contains(&word(frame, ether_type)?) {
            ether_type += 4;
        }
        match word(frame, ether_type)? {
            0x0800 => Self::ipv4(frame, ether_type + 2),
            0x86dd => Self::ipv6(frame, ether_type + 2),
            _ => None,
        }
    }

    fn ipv4(frame: &'a [u8], ip: usize) -> Option<Self> {
        let first = *frame.get(ip)?;
        let fragment = word(frame, ip + 6)?;
        frame.get(ip..ip + 20)?;
        let header = usize::from(first & 0x0f) * 4;
        (first >> 4 == 4 && header >= 20).then_some(Self {
            frame,
            ip,
            ipv6: false,
            transport: ip + header,
            protocol: frame[ip + 9],
            end: ip + usize::from(word(frame, ip + 2)?),
            fragment_offset: usize::from(fragment & 0x1fff) * 8,
            is_fragment: fragment & 0x3fff != 0,
        })
    }

    fn ipv6(frame: &'a [u8], ip: usize) -> Option<Self> {
        let header = frame.get(ip..ip + 40)?;
        let mut headers = Self {
            frame,
            ip,
            ipv6: true,
            transport: ip + 40,
            protocol: header[6],
            end: ip + 40 + usize::from(word(frame, ip + 4)?),
            fragment_offset: 0,
            is_fragment: false,
        };
        while let (true, Some(length)) = (headers.fragment_offset == 0, headers.extension()) {
            headers.protocol = frame[headers.transport];
            headers.transport += length;
        }
        (header[0] >> 4 == 6).then_some(headers)
    }

    /// The length of the extension header at the transport offset, if there is one, and what a
    /// fragment header says. RFC 8200 section 4, RFC 4302 section 2.
    fn extension(&mut self) -> Option<usize> {
        let header = self.frame.get(self.transport..self.transport + 8)?;
        match self.protocol {
            0 | 43 | 60 | 135 | 139 | 140 => Some((usize::from(header[1]) + 1) * 8),
            51 => Some((usize::from(header[1]) + 2) * 4),
            44 => {
                let field = u16::from_be_bytes([header[2], header[3]]);
                self.fragment_offset = usize::from(field & !7);
                self.is_fragment = field & !6 != 0;
                Some(8)
            }
            _ => None,
        }
    }

    /// Ethernet's type and all tags.
    pub(super) fn link_types(&self) -> &'a [u8] {
        &self.frame[12..self.ip]
    }

    /// The IP packet and whatever follows it in the frame.
    pub(super) fn packet(&self) -> &'a [u8] {
        &self.frame[self.ip..]
    }

    /// The IP header without options or extension headers.
    pub(super) fn header(&self) -> &'a [u8] {
        &self.frame[self.ip..self.ip + if self.ipv6 { 40 } else { 20 }]
    }

    /// The IPv4 header with its options, if the frame has all of it.
    pub(super) fn whole_ipv4_header(&self) -> Option<&'a [u8]> {
        (!self.ipv6).then(|| self.frame.get(self.ip..self.transport)).flatten()
    }

    /// The packet behind its IP headers, if the frame has all of it.
    pub(super) fn payload(&self) -> Option<&'a [u8]> {
        self.frame.get(self.transport..self.end)
    }

    /// The bytes of source and destination in [`Headers::header`].
    pub(super) const fn addresses(&self) -> [Range<usize>; 2] {
        if self.ipv6 { [8..24, 24..40] } else { [12..16, 16..20] }
    }

    /// The source address.
    pub(super) fn source(&self) -> &'a [u8] {
        &self.header()[self.addresses()[0].clone()]
    }

    /// The destination address.
    pub(super) fn destination(&self) -> &'a [u8] {
        &self.header()[self.addresses()[1].clone()]
    }
}

/// The big-endian word at an offset.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
