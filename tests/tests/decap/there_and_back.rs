//! What the balancer sends, and what its far end makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use etherparse::Ipv4HeaderSlice;
use lb_common::{DecapVerdict, Forward, service};
use lb_tests::packets::{
    Balancer, Carrier, ETHERNET, GUE_PORT, Gue, Segment, Shape, Transport, Tunnel, Variant,
    fixture::{self, Kind, VIPS},
    hex,
};
use lb_userspace::datapath::{desired::DesiredService, tunnels::Tunnels};

use super::{CLIENTS, decap};

/// Clients' packets of every kind, with and without bytes behind them.
fn shapes(port: u16) -> Vec<Shape> {
    let transports = [
        Transport::Tcp(Segment::Syn),
        Transport::Tcp(Segment::Ack),
        Transport::Udp,
        Transport::UdpWithoutChecksum,
    ];
    let mut shapes = Vec::new();
    for transport in transports {
        for (client, vip) in CLIENTS.into_iter().zip(VIPS) {
            let vip: IpAddr = vip.parse().expect("service address");
            let vip = SocketAddr::new(vip, port).to_string();
            for (payload, trailer) in [(0, 0), (0, 14), (25, 0), (999, 3)] {
                let mut shape = Shape::new(client, &vip, transport);
                shape.payload = vec![0x42; payload];
                shape.trailer = vec![0; trailer];
                shape.traffic_class = 0xb9;
                shapes.push(shape);
            }
        }
    }
    shapes
}

/// The frame a hop further on.
fn one_hop_on(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let packet = &mut frame[ETHERNET..];
    if packet[0] >> 4 == 4 {
        let mut header = Ipv4HeaderSlice::from_slice(packet).expect("a header").to_header();
        header.time_to_live -= 1;
        header.header_checksum = header.calc_header_checksum();
        packet[..20].copy_from_slice(&header.to_bytes());
    } else {
        packet[7] -= 1;
    }
    frame
}

/// What the balancer sends is what its far end takes: the backend sees the client's packet, a hop
/// further on.
#[test]
fn the_far_end_restores_what_the_balancer_got() {
    let mut balancer = fixture::balancer();
    let mut decap = decap();
    for kind in [Kind::OverIpv4, Kind::OverIpv6] {
        for shape in shapes(kind.port()) {
            let frame = shape.frame();
            let sent = balancer.agree(&frame);
            let opened = decap.agree(&sent.bytes);
            assert_eq!(opened.verdict, DecapVerdict::Opened);
            assert_eq!(opened.bytes[12..], one_hop_on(&frame)[12..], "{shape:?}");
            assert_eq!(opened.bytes[..12], sent.bytes[..12]);
        }
    }
}

/// The services of the fixture's tunnels, by GUE.
fn balancer_by_gue() -> Balancer {
    let mut services = Vec::new();
    for vip in VIPS {
        for protocol in [service::TCP, service::UDP] {
            for kind in [Kind::OverIpv4, Kind::OverIpv6] {
                let key = fixture::key(vip, kind.port(), protocol);
                let members = vec![fixture::member(kind.backend(), 100)];
                services.push(DesiredService::plain(key, Forward::Gue, members));
            }
        }
    }
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    balancer.tables().commit(&services, fixture::route).all().expect("the tables are large enough");
    balancer
}

/// GUE as it is written down here, but for the source port, which must be one of the dynamic ports
/// and the same for all packets of a flow.
#[test]
fn gue_of_the_balancer_is_as_the_drafts_say_and_is_opened() {
    let mut balancer = balancer_by_gue();
    let mut decap = decap();
    for kind in [Kind::OverIpv4, Kind::OverIpv6] {
        let mut ports = BTreeMap::new();
        for shape in shapes(kind.port()) {
            let frame = shape.frame();
            let sent = balancer.agree(&frame);
            let start = ETHERNET + if kind.backend().is_ipv6() { 40 } else { 20 };
            let port = u16::from_be_bytes([sent.bytes[start], sent.bytes[start + 1]]);
            assert!(port >= 0xc000, "{port}");
            let is_udp = !matches!(shape.transport, Transport::Tcp(_));
            let same = *ports.entry((shape.client, is_udp)).or_insert(port);
            assert_eq!(port, same, "{shape:?}");
            // A checksum over IPv6, if the packet's own one tells what it covers.
            let is_summed =
                kind.backend().is_ipv6() && shape.transport != Transport::UdpWithoutChecksum;
            let variant = Variant::Header(Vec::new());
            let gue = Gue { ports: [port, GUE_PORT], is_summed, variant };
            let label = u32::from_be_bytes(sent.bytes[ETHERNET..ETHERNET + 4].try_into().unwrap());
            let tunnel = Tunnel {
                carrier: Carrier::Gue(gue),
                ..kind.tunnel(shape.traffic_class, label & 0xf_ffff)
            };
            let expected = tunnel.around(&one_hop_on(&frame), shape.trailer.len());
            assert_eq!(hex(&sent.bytes), hex(&expected), "{shape:?}");
            let opened = decap.agree(&sent.bytes);
            assert_eq!(opened.verdict, DecapVerdict::Opened);
            assert_eq!(opened.bytes[12..], one_hop_on(&frame)[12..], "{shape:?}");
        }
        let different: BTreeSet<u16> = ports.values().copied().collect();
        assert_eq!(different.len(), ports.len(), "four flows, four ports: {ports:?}");
    }
}

/// Flows are spread over all addresses of a prefix, and the far end takes every one of them.
#[test]
fn sources_are_spread_over_their_prefix() {
    let prefixes = ["10.1.255.0/28", "fd00:1::ff:0/124"];
    let sources = prefixes.map(|prefix| prefix.parse().expect("a prefix"));
    let mut balancer = balancer_by_gue();
    balancer.tables().set_tunnels(Tunnels::new(GUE_PORT, &sources));
    for kind in [Kind::OverIpv4, Kind::OverIpv6] {
        balancer.tables().reroute(&kind.backend().into(), |_| kind.route());
        let mut seen = BTreeSet::new();
        for port in 20_000..20_400_u16 {
            let client = SocketAddr::new([198, 51, 100, 7].into(), port).to_string();
            let vip = format!("{}:{}", VIPS[0], kind.port());
            let frame = Shape::udp(&client, &vip).frame();
            let sent = balancer.agree(&frame).bytes;
            let Some(outer) = source_of(&sent) else { panic!("{}", hex(&sent)) };
            assert!(sources.iter().any(|prefix| prefix.contains(&outer)), "{outer}");
            seen.insert(outer);
            assert_eq!(balancer.agree(&frame).bytes, sent, "a flow has one source");
        }
        assert_eq!(seen.len(), 16, "{seen:?}");
    }
}

fn source_of(frame: &[u8]) -> Option<IpAddr> {
    let packet = &frame[ETHERNET..];
    match packet[0] >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(&packet[12..16]).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(&packet[8..24]).ok()?)),
        _ => None,
    }
}
