//! What one look at the kernel's tables says about the way to an address.

use std::net::IpAddr;

use super::{
    entry::Entry,
    interface::Interface,
    outlet::Outlet,
    route::Hop,
    way::{Fault, InterfaceProblem, Via, Way},
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
    /// Puts together what the three tables say of the way to `address`.
    pub(super) fn new(
        address: IpAddr,
        hop: &Hop,
        interface: Option<&Interface>,
        entry: Entry,
    ) -> Self {
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
        let Some(destination) = entry.hardware() else {
            return Self::Unanswered {
                fault: Fault::Unresolved {
                    next_hop: hop.neighbour,
                    interface_name: interface.name.clone(),
                },
                asked_in_vain: entry == Entry::Failed,
            };
        };
        let mtu = hop.mtu.unwrap_or(u32::MAX).min(interface.mtu);
        let via = match hop.neighbour {
            neighbour if neighbour == address => Via::Direct,
            gateway => Via::Gateway(gateway),
        };
        Self::Way(Way {
            via,
            source: hop.source,
            interface: interface.index,
            interface_name: interface.name.clone(),
            vlan: None,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            destination,
            link_source,
        })
    }
}

impl Finding {
    /// The same with packets that leave by this interface, if there is a way.
    pub(super) fn by(self, outlet: Result<Outlet, Fault>) -> Self {
        match (self, outlet) {
            (Self::Way(way), Ok(Outlet { interface, name, vlan })) => {
                Self::Way(Way { interface, interface_name: name, vlan, ..way })
            }
            (Self::Way(_), Err(fault)) => Self::Fault(fault),
            (other, _) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::interface::tests::{MAC, eth0};

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn hop(mtu: Option<u32>) -> Hop {
        Hop { interface: 7, neighbour: [10, 0, 0, 254].into(), source: [10, 0, 0, 1].into(), mtu }
    }

    #[test]
    fn puts_a_way_together() {
        let expected = Way {
            via: Via::Gateway([10, 0, 0, 254].into()),
            source: [10, 0, 0, 1].into(),
            interface: 7,
            interface_name: "eth0".into(),
            vlan: None,
            mtu: 1500,
            destination: HARDWARE,
            link_source: MAC,
        };
        for entry in [Entry::Known(HARDWARE), Entry::Probed(HARDWARE), Entry::Kept(HARDWARE)] {
            let finding = Finding::new(TARGET, &hop(None), Some(&eth0()), entry);
            assert_eq!(finding, Finding::Way(expected.clone()));
        }
    }

    #[test]
    fn tells_neighbours_from_what_is_behind_them() {
        let entry = Entry::Known(HARDWARE);
        let finding = Finding::new([10, 0, 0, 254].into(), &hop(None), Some(&eth0()), entry);
        assert!(
            matches!(&finding, Finding::Way(Way { via: Via::Direct, .. })),
            "the gateway itself is a neighbour: {finding:?}"
        );
    }

    #[test]
    fn an_outlet_is_of_interest_where_there_is_a_way() {
        let find = |entry| Finding::new(TARGET, &hop(None), Some(&eth0()), entry);
        let outlet = || Outlet { interface: 5, name: "eth5".into(), vlan: Some(100) };
        let Finding::Way(way) = find(Entry::Known(HARDWARE)).by(Ok(outlet())) else {
            panic!("no way");
        };
        assert_eq!((way.interface, &*way.interface_name, way.vlan), (5, "eth5", Some(100)));
        assert_eq!(way.link_source, MAC, "frames are the VLAN device's");
        let fault = Fault::NoRoute("for a test".into());
        assert_eq!(
            find(Entry::Known(HARDWARE)).by(Err(fault.clone())),
            Finding::Fault(fault.clone())
        );
        assert_eq!(find(Entry::Asking).by(Err(fault)), find(Entry::Asking));
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
            let entry = Entry::Known(HARDWARE);
            let finding = Finding::new(TARGET, &hop(route), Some(&interface), entry);
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
            let finding = Finding::new(TARGET, &hop(None), interface.as_ref(), Entry::Failed);
            let Finding::Fault(fault) = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(fault.to_string(), expected);
        }
    }

    #[test]
    fn tells_asking_from_asked() {
        for (entry, expected) in [
            (Entry::Absent, false),
            (Entry::Awaited, false),
            (Entry::Asking, false),
            (Entry::Failed, true),
        ] {
            let finding = Finding::new(TARGET, &hop(None), Some(&eth0()), entry);
            assert!(
                matches!(finding, Finding::Unanswered { asked_in_vain, .. } if asked_in_vain == expected),
                "{entry:?}: {finding:?}"
            );
        }
    }
}
