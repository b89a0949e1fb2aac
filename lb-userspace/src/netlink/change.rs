//! What an event of the kernel can touch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::NeighbourMessage,
    route::{RouteAttribute, RouteMessage},
};

use super::{
    entry::{self, Entry},
    route::{self, Hop},
};

/// What an event of the kernel can touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The way to any address. Interfaces, addresses and rules change rarely, and the kernel says
    /// nothing of the routes that come and go with them.
    Everything,
    /// Ways to addresses in this network.
    Route(IpNet),
    /// Ways over this next hop.
    Neighbour {
        /// Index of the interface.
        interface: u32,
        /// The next hop.
        address: IpAddr,
        /// Its hardware address from now on, if it has one.
        hardware: Option<[u8; 6]>,
    },
}

impl Change {
    /// Reads an event; `None` if it touches no way.
    pub(super) fn of(message: &RouteNetlinkMessage) -> Option<Self> {
        use RouteNetlinkMessage as Message;
        match message {
            Message::NewNeighbour(message) => neighbour(message, Entry::read(message).hardware()),
            Message::DelNeighbour(message) => neighbour(message, None),
            Message::NewRoute(message) | Message::DelRoute(message) => {
                destination(message).map(Self::Route)
            }
            Message::NewLink(_)
            | Message::DelLink(_)
            | Message::NewAddress(_)
            | Message::DelAddress(_)
            | Message::NewRule(_)
            | Message::DelRule(_) => Some(Self::Everything),
            _ => None,
        }
    }

    /// Whether the way to `address`, which goes over `hop` to this `destination` now, is to be
    /// looked at again.
    ///
    /// Neighbours that are as they were are most of what the kernel tells: each probe leads to two
    /// such events.
    pub(super) fn touches(
        &self,
        address: IpAddr,
        hop: Option<&Hop>,
        destination: Option<[u8; 6]>,
    ) -> bool {
        match self {
            Self::Everything => true,
            Self::Route(network) => network.contains(&address),
            Self::Neighbour { interface, address: neighbour, hardware } => {
                let is_over =
                    |hop: &Hop| hop.interface == *interface && hop.neighbour == *neighbour;
                hop.is_some_and(is_over) && (hardware.is_none() || *hardware != destination)
            }
        }
    }
}

fn neighbour(message: &NeighbourMessage, hardware: Option<[u8; 6]>) -> Option<Change> {
    let address = entry::subject(message)?;
    Some(Change::Neighbour { interface: message.header.ifindex, address, hardware })
}

/// Network of a route; the kernel leaves out the address of a default route.
fn destination(message: &RouteMessage) -> Option<IpNet> {
    let named = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => route::ip(address),
        _ => None,
    });
    let address = match (named, message.header.address_family) {
        (Some(address), _) => address,
        (None, AddressFamily::Inet) => Ipv4Addr::UNSPECIFIED.into(),
        (None, AddressFamily::Inet6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    IpNet::new(address, message.header.destination_prefix_length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::{
        address::AddressMessage,
        link::LinkMessage,
        neighbour::{NeighbourAttribute, NeighbourState},
        nsid::NsidMessage,
        rule::RuleMessage,
    };

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn route_message(
        family: AddressFamily,
        length: u8,
        destination: Option<&str>,
    ) -> RouteNetlinkMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.destination_prefix_length = length;
        message.attributes = destination
            .map(|text| RouteAttribute::Destination(address(text).into()))
            .into_iter()
            .collect();
        RouteNetlinkMessage::DelRoute(message)
    }

    #[test]
    fn a_route_touches_its_network() {
        let inet = AddressFamily::Inet;
        let inet6 = AddressFamily::Inet6;
        for (message, inside, outside) in [
            (route_message(inet, 24, Some("10.0.1.0")), "10.0.1.9", "10.0.2.9"),
            (route_message(inet, 0, None), "192.0.2.1", "fd00::1"),
            (route_message(inet6, 64, Some("fd00::")), "fd00::1", "fd01::1"),
            (route_message(inet6, 0, None), "fd00::1", "192.0.2.1"),
        ] {
            let change = Change::of(&message).expect("a change");
            assert!(change.touches(address(inside), None, None), "{change:?}");
            assert!(!change.touches(address(outside), None, None), "{change:?}");
        }
        let of_a_bridge = route_message(AddressFamily::Bridge, 0, None);
        assert_eq!(Change::of(&of_a_bridge), None);
    }

    #[test]
    fn a_neighbour_touches_ways_over_it() {
        let hop = |interface, neighbour| Hop {
            interface,
            neighbour: address(neighbour),
            source: address("10.0.0.1"),
            mtu: None,
        };
        let message = entry::question(7, address("10.0.0.254"));
        let change = Change::of(&RouteNetlinkMessage::DelNeighbour(message)).expect("a change");
        let target = address("192.0.2.1");
        assert!(change.touches(target, Some(&hop(7, "10.0.0.254")), None));
        assert!(!change.touches(target, Some(&hop(8, "10.0.0.254")), None));
        assert!(!change.touches(target, Some(&hop(7, "10.0.0.253")), None));
        assert!(!change.touches(target, None, None));
        let of_a_bridge = NeighbourMessage::default();
        assert_eq!(Change::of(&RouteNetlinkMessage::NewNeighbour(of_a_bridge)), None);
    }

    #[test]
    fn a_neighbour_that_is_as_it_was_touches_nothing() {
        let hop = Hop {
            interface: 7,
            neighbour: address("10.0.0.254"),
            source: address("10.0.0.1"),
            mtu: None,
        };
        let event = |state, last| {
            let mut message = entry::question(7, address("10.0.0.254"));
            message.header.state = state;
            let hardware = NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, last]);
            message.attributes.push(hardware);
            message
        };
        let known = Some([2, 0, 0, 0, 0, 9]);
        let touches = |message: &RouteNetlinkMessage, known| {
            let change = Change::of(message).expect("a change");
            change.touches(address("192.0.2.1"), Some(&hop), known)
        };
        for state in [NeighbourState::Probe, NeighbourState::Reachable, NeighbourState::Stale] {
            let same = RouteNetlinkMessage::NewNeighbour(event(state, 9));
            assert!(!touches(&same, known), "{state:?}");
            assert!(touches(&same, None), "{state:?}: it was not known");
            let moved = RouteNetlinkMessage::NewNeighbour(event(state, 8));
            assert!(touches(&moved, known), "{state:?}");
        }
        let failed = RouteNetlinkMessage::NewNeighbour(event(NeighbourState::Failed, 9));
        assert!(touches(&failed, known));
        let gone = RouteNetlinkMessage::DelNeighbour(event(NeighbourState::Reachable, 9));
        assert!(touches(&gone, known));
    }

    #[test]
    fn interfaces_addresses_and_rules_touch_everything() {
        for message in [
            RouteNetlinkMessage::NewLink(LinkMessage::default()),
            RouteNetlinkMessage::DelAddress(AddressMessage::default()),
            RouteNetlinkMessage::NewRule(RuleMessage::default()),
        ] {
            let change = Change::of(&message).expect("a change");
            assert!(change.touches(address("10.0.0.1"), None, None), "{change:?}");
        }
        let unrelated = RouteNetlinkMessage::NewNsId(NsidMessage::default());
        assert_eq!(Change::of(&unrelated), None);
    }
}
