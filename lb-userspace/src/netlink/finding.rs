//! What one look at the kernel's tables says about the way to an address.

use super::{
    entry::Entry,
    interface::Interface,
    route::Hop,
    way::{Fault, InterfaceProblem, Way},
};

/// What one look at the kernel's tables says about the way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// There is a way.
    Way(Way),
    /// There is none, and waiting does not help.
    Fault(Fault),
    /// The next hop has not said its hardware address; whether it will is open.
    Unanswered {
        /// What it comes to if it does not.
        fault: Fault,
        /// Whether the kernel has asked to the end.
        asked_in_vain: bool,
    },
    /// The kernel did not answer, for this reason.
    Unreadable(String),
}

impl Finding {
    /// Puts together what the three tables say.
    pub(super) fn new(hop: &Hop, interface: Option<&Interface>, entry: Entry) -> Self {
        let Some(interface) = interface else {
            return Self::Fault(Fault::Interface {
                name: format!("#{}", hop.interface),
                problem: InterfaceProblem::Gone,
            });
        };
        let link_source = match interface.sender() {
            Ok(link_source) => link_source,
            Err(fault) => return Self::Fault(fault),
        };
        let (Entry::Known(destination) | Entry::Stale(destination)) = entry else {
            return Self::Unanswered {
                fault: Fault::Unresolved {
                    next_hop: hop.neighbour,
                    interface_name: interface.name.clone(),
                },
                asked_in_vain: entry == Entry::Failed,
            };
        };
        let mtu = hop.mtu.unwrap_or(u32::MAX).min(interface.mtu);
        Self::Way(Way {
            source: hop.source,
            interface: interface.index,
            interface_name: interface.name.clone(),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            destination,
            link_source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::interface::tests::{MAC, eth0};

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn hop(mtu: Option<u32>) -> Hop {
        Hop { interface: 7, neighbour: [10, 0, 0, 254].into(), source: [10, 0, 0, 1].into(), mtu }
    }

    #[test]
    fn puts_a_way_together() {
        let expected = Way {
            source: [10, 0, 0, 1].into(),
            interface: 7,
            interface_name: "eth0".into(),
            mtu: 1500,
            destination: HARDWARE,
            link_source: MAC,
        };
        for entry in [Entry::Known(HARDWARE), Entry::Stale(HARDWARE)] {
            let finding = Finding::new(&hop(None), Some(&eth0()), entry);
            assert_eq!(finding, Finding::Way(expected.clone()));
        }
    }

    #[test]
    fn the_smaller_mtu_counts() {
        for (link, route, expected) in [
            (1500, None, 1500),
            (1500, Some(1400), 1400),
            (1500, Some(9000), 1500),
            (65536, None, 65535),
        ] {
            let interface = Interface { mtu: link, ..eth0() };
            let finding = Finding::new(&hop(route), Some(&interface), Entry::Known(HARDWARE));
            let Finding::Way(way) = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(way.mtu, expected);
        }
    }

    #[test]
    fn the_interface_counts_before_the_neighbour() {
        let down = Interface { up: false, ..eth0() };
        for (interface, expected) in
            [(None, "interface #7 is gone"), (Some(down), "interface eth0 is down")]
        {
            let finding = Finding::new(&hop(None), interface.as_ref(), Entry::Failed);
            let Finding::Fault(fault) = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(fault.to_string(), expected);
        }
    }

    #[test]
    fn tells_asking_from_asked() {
        for (entry, expected) in
            [(Entry::Absent, false), (Entry::Asking, false), (Entry::Failed, true)]
        {
            let finding = Finding::new(&hop(None), Some(&eth0()), entry);
            assert!(
                matches!(finding, Finding::Unanswered { asked_in_vain, .. } if asked_in_vain == expected),
                "{entry:?}: {finding:?}"
            );
        }
    }
}
