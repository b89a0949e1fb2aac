//! What a backend is, in one word.

use crate::forward::Forward;

/// What kind of backend this is, in one word: twelve bits of the VLAN of [`super::NextHop::vlan`],
/// three of [`Forward`] as a number, of which 0 is an unused entry, and one that says that the
/// backend's address is an IPv6 address.
#[derive(Clone, Copy)]
pub(super) struct Kind(u16);

impl Kind {
    const VLAN: u16 = 0xfff;
    const FORWARD: u32 = 12;
    const IPV6: u16 = 0x8000;

    #[inline(always)]
    pub(super) const fn from_word(word: u16) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u16 {
        self.0
    }

    /// Of no VLAN.
    pub(super) const fn new(forward: Forward, is_ipv6: bool) -> Self {
        Self((forward as u16) << Self::FORWARD | if is_ipv6 { Self::IPV6 } else { 0 })
    }

    pub(super) const fn in_vlan(self, vlan: u16) -> Self {
        Self(self.0 & !Self::VLAN | vlan & Self::VLAN)
    }

    #[inline(always)]
    pub(super) const fn forward(self) -> Option<Forward> {
        Forward::from_number((self.0 >> Self::FORWARD & 7) as u8)
    }

    #[inline(always)]
    pub(super) const fn is_ipv6(self) -> bool {
        self.0 & Self::IPV6 != 0
    }

    #[inline(always)]
    pub(super) const fn vlan(self) -> u16 {
        self.0 & Self::VLAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_changes_nothing_else() {
        for forward in [Forward::L2, Forward::Ipip, Forward::Gue, Forward::Nat] {
            for is_ipv6 in [false, true] {
                let kind = Kind::new(forward, is_ipv6);
                for vlan in [0, 1, 0xfff, 5] {
                    let kind = Kind::from_word(kind.in_vlan(0xabc).in_vlan(vlan).word());
                    assert_eq!(kind.forward(), Some(forward));
                    assert_eq!((kind.is_ipv6(), kind.vlan()), (is_ipv6, vlan));
                }
            }
        }
        assert_eq!(Kind::from_word(0).in_vlan(7).forward(), None, "an unused entry");
    }
}
