//! VLAN tags between the hardware addresses and the packet, which stay as they came.

use crate::frame::{Ethernet, Frame};

/// Bytes of one tag, IEEE 802.1Q.
const TAG: usize = 4;

/// No, one or two VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// The tags' bytes as they lie in memory. Words, since the verifier wants the stack aligned.
    outer: u32,
    inner: u32,
    count: u32,
}

impl Tags {
    /// The tags of most frames.
    pub const NONE: Self = Self { outer: 0, inner: 0, count: 0 };

    /// The tags of a frame and the EtherType behind them, which of a third tag is its own.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &F) -> Option<(Self, u16)> {
        let ethernet = frame.header::<Ethernet>(0)?;
        let first = ethernet.ether_type();
        if !is_tag(first) {
            return Some((Self::NONE, first));
        }
        let outer = u32::from_ne_bytes(*frame.header::<[u8; TAG]>(Ethernet::LEN - 2)?);
        let second = ether_type(frame, Ethernet::LEN + TAG - 2)?;
        if !is_tag(second) {
            return Some((Self { outer, inner: 0, count: 1 }, second));
        }
        let inner = frame.header::<[u8; TAG]>(Ethernet::LEN + TAG - 2)?;
        let inner = u32::from_ne_bytes(*inner);
        let third = ether_type(frame, Ethernet::LEN + 2 * TAG - 2)?;
        Some((Self { outer, inner, count: 2 }, third))
    }

    /// Where the packet starts, in bytes from the start of the frame: 14, 18 or 22.
    #[inline(always)]
    #[must_use]
    pub const fn network(&self) -> usize {
        // Arithmetic, not cases: the verifier follows each case to the program's end.
        Ethernet::LEN + TAG * (self.count & 3) as usize
    }

    /// Writes hardware addresses, these tags and the EtherType at the start of a frame.
    #[inline(always)]
    pub fn write<F: Frame>(&self, frame: &mut F, link: [u8; 12], protocol: u16) -> Option<()> {
        match self.count {
            0 => *frame.header_mut::<Ethernet>(0)? = Ethernet::new(link, protocol),
            1 => {
                *frame.header_mut::<[u8; 12]>(0)? = link;
                *frame.header_mut::<[u8; TAG]>(Ethernet::LEN - 2)? = self.outer.to_ne_bytes();
                *frame.header_mut::<[u8; 2]>(Ethernet::LEN + TAG - 2)? = protocol.to_be_bytes();
            }
            _ => {
                *frame.header_mut::<[u8; 12]>(0)? = link;
                *frame.header_mut::<[u8; TAG]>(Ethernet::LEN - 2)? = self.outer.to_ne_bytes();
                *frame.header_mut::<[u8; TAG]>(Ethernet::LEN + TAG - 2)? = self.inner.to_ne_bytes();
                *frame.header_mut::<[u8; 2]>(Ethernet::LEN + 2 * TAG - 2)? = protocol.to_be_bytes();
            }
        }
        Some(())
    }
}

#[inline(always)]
fn ether_type<F: Frame>(frame: &F, offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.header::<[u8; 2]>(offset)?))
}

const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, Ethernet::VLAN | Ethernet::SERVICE_VLAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFrame;

    fn tagged(tags: &[[u8; 4]]) -> Vec<u8> {
        [&[7; 12], tags.as_flattened(), &[0x08, 0x00, 0x45]].concat()
    }

    #[test]
    fn up_to_two_tags_are_read_and_written_back() {
        let tags = [[0x88, 0xa8, 0x60, 1], [0x81, 0, 0, 2]];
        for count in 0..=2 {
            let bytes = tagged(&tags[..count]);
            let mut frame = HostFrame::new(&bytes);
            let (read, protocol) = Tags::read(&frame).expect("a frame");
            assert_eq!((read.network(), protocol), (14 + 4 * count, Ethernet::IPV4));
            read.write(&mut frame, [9; 12], Ethernet::IPV6).expect("room");
            let expected = [&[9; 12], tags[..count].as_flattened(), &[0x86, 0xdd, 0x45]].concat();
            assert_eq!(frame.bytes(), expected);
        }
    }

    #[test]
    fn a_third_tag_is_what_follows_two() {
        let frame = HostFrame::new(&tagged(&[[0x81, 0, 0, 1]; 3]));
        assert_eq!(Tags::read(&frame).map(|(_, protocol)| protocol), Some(Ethernet::VLAN));
    }

    #[test]
    fn a_tag_that_is_cut_short_is_none() {
        let bytes = tagged(&[[0x81, 0, 0, 1]; 2]);
        for length in 14..22 {
            assert_eq!(Tags::read(&HostFrame::new(&bytes[..length])), None, "{length}");
        }
    }
}
