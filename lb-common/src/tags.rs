//! VLAN tags between the hardware addresses and the packet, which stay as they came unless a backend
//! is in a VLAN of its own.

use crate::frame::{Ethernet, Frame};

/// Bytes of one tag, IEEE 802.1Q.
const TAG: usize = 4;

/// The part of a tag's last two bytes that names the VLAN; the other four bits are priority.
const VLAN_ID: u16 = 0xfff;

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

    /// Whether frames to somebody in this VLAN may have these tags: this one only, or, if it is 0,
    /// any.
    #[inline(always)]
    #[must_use]
    pub const fn suit(&self, vlan: u16) -> bool {
        let [high, low, a, b] = self.outer.to_ne_bytes();
        let is_customers = u16::from_be_bytes([high, low]) == Ethernet::VLAN;
        let is_same = u16::from_be_bytes([a, b]) & VLAN_ID == vlan;
        vlan == 0 || (self.count == 1 && is_customers && is_same)
    }

    /// The tags of a frame that came under these and leaves in a VLAN: one, with the outer one's
    /// priority. As they are if the VLAN is 0.
    #[inline(always)]
    #[must_use]
    pub const fn in_vlan(&self, vlan: u16) -> Self {
        if vlan == 0 {
            return *self;
        }
        let [_, _, a, b] = self.outer.to_ne_bytes();
        let control = u16::from_be_bytes([a, b]) & !VLAN_ID | vlan;
        let [high, low] = Ethernet::VLAN.to_be_bytes();
        let [a, b] = control.to_be_bytes();
        Self { outer: u32::from_ne_bytes([high, low, a, b]), inner: 0, count: 1 }
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
    fn a_vlans_frames_have_its_one_tag_and_the_outer_ones_priority() {
        let read = |tags: &[[u8; 4]]| Tags::read(&HostFrame::new(&tagged(tags))).expect("tags").0;
        let customer = |high, low| [0x81, 0, high, low];
        for (came, leaves) in [
            (vec![], customer(0x01, 0x23)),
            (vec![customer(0xe1, 0x23)], customer(0xe1, 0x23)),
            (vec![customer(0x4f, 0xff)], customer(0x41, 0x23)),
            (vec![[0x88, 0xa8, 0x71, 0x23]], customer(0x71, 0x23)),
            (vec![[0x88, 0xa8, 0x20, 5], customer(0xe1, 0x23)], customer(0x21, 0x23)),
        ] {
            let tags = read(&came);
            assert_eq!(tags.in_vlan(0x123), read(&[leaves]), "{came:?}");
            assert_eq!(tags.in_vlan(0), tags);
            assert_eq!(tags.suit(0x123), came == [leaves], "{came:?}");
            assert!(tags.suit(0));
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
