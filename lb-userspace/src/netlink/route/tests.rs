use netlink_packet_route::route::RouteLwEnCapType;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn answer(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.kind = kind;
    message.attributes = attributes;
    message
}

/// The next machine of an answer that names one.
fn hop(target: IpAddr, answer: &RouteMessage) -> Hop {
    match next(target, answer) {
        Ok(Next::Hop(hop)) => hop,
        other => panic!("{other:?}"),
    }
}

fn gateway(text: &str) -> RouteAttribute {
    RouteAttribute::Gateway(address(text).into())
}

#[test]
fn reads_a_neighbour_on_the_link() {
    for (target, source) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")] {
        let answer = answer(
            RouteType::Unicast,
            vec![
                RouteAttribute::Destination(address(target).into()),
                RouteAttribute::Oif(7),
                RouteAttribute::PrefSource(address(source).into()),
            ],
        );
        let expected =
            Hop { interface: 7, neighbour: address(target), source: address(source), mtu: None };
        assert_eq!(hop(address(target), &answer), expected);
    }
}

#[test]
fn reads_gateways_of_either_family() {
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().expect("an address")));
    for (attribute, expected) in [(gateway("10.0.0.254"), "10.0.0.254"), (via, "fe80::1")] {
        let answer = answer(RouteType::Unicast, vec![RouteAttribute::Oif(7), attribute]);
        let hop = hop(address("192.0.2.1"), &answer);
        assert_eq!(hop.neighbour, address(expected));
        assert_eq!(hop.source, address("0.0.0.0"), "no source is not an error");
    }
}

#[test]
fn takes_the_first_living_path() {
    let path = |interface_index, flags, via| {
        let mut path = RouteNextHop::default();
        path.interface_index = interface_index;
        path.flags = flags;
        path.attributes = vec![gateway(via)];
        path
    };
    let paths = vec![
        path(3, RouteNextHopFlags::Dead, "10.0.3.1"),
        path(4, RouteNextHopFlags::Linkdown, "10.0.4.1"),
        path(5, RouteNextHopFlags::Onlink, "10.0.5.1"),
        path(6, RouteNextHopFlags::empty(), "10.0.6.1"),
    ];
    let answer = answer(
        RouteType::Unicast,
        vec![
            RouteAttribute::PrefSource(address("10.0.5.2").into()),
            RouteAttribute::MultiPath(paths),
        ],
    );
    let hop = hop(address("192.0.2.1"), &answer);
    assert_eq!((hop.interface, hop.neighbour), (5, address("10.0.5.1")), "{hop:?}");
    assert_eq!(hop.source, address("10.0.5.2"));
}

#[test]
fn a_route_may_lower_the_mtu() {
    let metrics = vec![RouteMetric::Advmss(1200), RouteMetric::Mtu(1400)];
    let answer =
        answer(RouteType::Unicast, vec![RouteAttribute::Oif(7), RouteAttribute::Metrics(metrics)]);
    assert_eq!(hop(address("10.0.0.2"), &answer).mtu, Some(1400));
}

#[test]
fn knows_routes_that_lead_nowhere() {
    let target = address("10.0.0.2");
    let tunnel = vec![RouteAttribute::Oif(7), RouteAttribute::EncapType(RouteLwEnCapType::Mpls)];
    for answer in [
        answer(RouteType::Broadcast, vec![RouteAttribute::Oif(7)]),
        answer(RouteType::BlackHole, vec![RouteAttribute::Oif(7)]),
        answer(RouteType::Unreachable, vec![]),
        answer(RouteType::Unicast, vec![]),
        answer(RouteType::Unicast, tunnel),
    ] {
        let next = next(target, &answer);
        assert!(matches!(next, Err(Fault::NoRoute(_))), "{next:?}");
    }
}

#[test]
fn knows_its_own_addresses() {
    // IPv6 names the interface that has the address, IPv4 the loopback interface.
    for interface in [1, 7] {
        let answer = answer(RouteType::Local, vec![RouteAttribute::Oif(interface)]);
        assert_eq!(next(address("fd00::1"), &answer), Ok(Next::Here));
    }
    // Packets that are sent to the loopback interface have not arrived by that.
    let sent = answer(RouteType::Unicast, vec![RouteAttribute::Oif(1)]);
    assert_eq!(hop(address("10.0.0.2"), &sent).interface, 1);
}

#[test]
fn tells_refusals_from_trouble_of_the_kernel() {
    let refusal = |errno: Errno| refusal(&errno.into());
    assert_eq!(
        refusal(Errno::ENETUNREACH),
        Some(Fault::NoRoute("nothing in the routing table matches the address".into()))
    );
    assert_eq!(refusal(Errno::EACCES), Some(Fault::NoRoute(PROHIBIT.into())));
    assert_eq!(refusal(Errno::ENOBUFS), None);
    assert_eq!(
        super::refusal(&io::ErrorKind::TimedOut.into()),
        None,
        "an answer that did not come is not a refusal"
    );
}

#[test]
fn asks_for_the_whole_address() {
    let question = question(address("fd00::2"));
    assert_eq!(question.header.address_family, AddressFamily::Inet6);
    assert_eq!(question.header.destination_prefix_length, 128);
    assert_eq!(question.attributes, [RouteAttribute::Destination(address("fd00::2").into())]);
}
