//! Frames that are for no service: they pass, and not a byte changes.

use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Extension, Segment, Shape, Tag, Transport, extended,
    fixture::{self, EVERY_PORT_VIPS, Kind, VIPS},
    fragments as pieces, icmp, tagged,
};

use crate::{
    Case, check,
    forwarded::{CLIENTS, at, shapes},
};

const TRANSPORTS: [Transport; 2] = [Transport::Tcp(Segment::Syn), Transport::Udp];

/// Every case of a frame that passes.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = not_ip();
    cases.extend(other_protocols());
    cases.extend(fragments());
    cases.extend(extension_headers());
    cases.extend(other_destinations());
    cases.extend(without_transport_header());
    cases
}

fn not_ip() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, ether_type) in [
        ("ARP", 0x0806_u16),
        ("LLDP", 0x88cc),
        ("PPPoE", 0x8864),
        ("MPLS", 0x8847),
        ("MACsec", 0x88e5),
        ("length of an LLC frame", 46),
        ("next to IPv4", 0x0801),
        ("next to IPv6", 0x86dc),
    ] {
        for transport in TRANSPORTS {
            for shape in shapes(Kind::OverIpv4, transport) {
                let mut frame = shape.frame();
                frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
                cases.push(Case::unchanged(name, frame, Verdict::NotIp));
            }
        }
    }
    let three = [Tag::service(5), Tag::customer(6), Tag::customer(7)];
    for shape in shapes(Kind::OverIpv4, Transport::Udp) {
        let frame = tagged(&shape.frame(), &three);
        cases.push(Case::unchanged("three tags", frame, Verdict::NotIp));
    }
    cases.extend(wrong_versions());
    cases
}

/// The version says otherwise than the frame's type, or the header length cannot be.
fn wrong_versions() -> Vec<Case> {
    let [ipv4, ipv6] = shapes(Kind::OverIpv4, Transport::Udp);
    let with_first_byte = |shape: &Shape, byte: u8| {
        let mut frame = shape.frame();
        frame[ETHERNET] = byte;
        Case::unchanged(format!("first byte {byte:#x}"), frame, Verdict::NotIp)
    };
    let mut cases = Vec::new();
    for byte in [0x00, 0x05, 0x35, 0x40, 0x41, 0x42, 0x43, 0x44, 0x50, 0x55, 0x65, 0xf5] {
        cases.push(with_first_byte(&ipv4, byte));
    }
    for byte in [0x00, 0x40, 0x45, 0x50, 0x70, 0xe0] {
        cases.push(with_first_byte(&ipv6, byte));
    }
    cases
}

/// What is neither TCP nor UDP, at an address that has services.
fn other_protocols() -> Vec<Case> {
    let mut cases = Vec::new();
    for protocol in [1, 2, 4, 41, 46, 47, 50, 58, 59, 88, 89, 103, 112, 115, 132, 136, 253, 255] {
        let payload = [8, 0, 0, 0, 0, 0, 0, 80, 0, 80, 0, 80, 0, 80, 0, 80, 0, 80, 0, 80];
        for frame in [ipv4(protocol, &payload), ipv6(protocol, &payload)] {
            let name = format!("protocol {protocol}");
            cases.push(Case::unchanged(name, frame, Verdict::NotTransport));
        }
    }
    cases
}

/// Pieces of datagrams to addresses without services, also of protocols that have none there.
fn fragments() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [0, 1] {
        let strangers = [at("10.200.0.3", 84), at("fd00:200::3", 84)];
        for transport in TRANSPORTS {
            let shape = Shape::new(CLIENTS[family], &strangers[family], transport);
            let pieces = pieces(&shape.frame(), 24, 1);
            for (number, piece) in pieces.into_iter().enumerate() {
                // The ports in the first tell that it is for no service.
                let verdict = if number == 0 { Verdict::NotService } else { Verdict::Fragment };
                cases.push(Case::unchanged(format!("fragment {number}"), piece, verdict));
            }
        }
        let udp = Shape::udp(CLIENTS[family], &at(EVERY_PORT_VIPS[family], 84));
        let later = pieces(&udp.frame(), 24, 1).swap_remove(1);
        cases.push(Case::unchanged("another protocol's", later, Verdict::Fragment));
        let ping = icmp::echo_request(udp.client, udp.vip.ip(), &[7; 64]);
        for piece in pieces(&ping, 24, 1) {
            cases.push(Case::unchanged("fragment of an echo", piece, Verdict::Fragment));
        }
    }
    cases
}

/// What leads on to another destination, hides its transport, or is more than is walked over.
fn extension_headers() -> Vec<Case> {
    let mut cases = Vec::new();
    let chains = [
        vec![Extension::Routing(1)],
        vec![Extension::Destination(1), Extension::Routing(3)],
        vec![Extension::Destination(1); 7],
        vec![Extension::HopByHop(20), Extension::Destination(20)],
        vec![Extension::Destination(33)],
    ];
    for transport in TRANSPORTS {
        let [_, shape] = shapes(Kind::OverIpv4, transport);
        for chain in &chains {
            let frame = extended(&shape.frame(), chain);
            let name = format!("{chain:?}");
            cases.push(Case::unchanged(name, frame, Verdict::ExtensionHeader));
        }
        // ESP, no next header.
        for protocol in [50, 59] {
            let mut frame = shape.frame();
            frame[ETHERNET + 6] = protocol;
            let frame = extended(&frame, &[Extension::Destination(1)]);
            let name = format!("protocol {protocol} behind an extension header");
            cases.push(Case::unchanged(name, frame, Verdict::NotTransport));
        }
    }
    cases
}

/// Other ports and addresses, also where the lengths lie: that is not ours to judge.
fn other_destinations() -> Vec<Case> {
    let udp = [Transport::Udp, Transport::UdpWithoutChecksum];
    let tcp = [Segment::Syn, Segment::Ack].map(Transport::Tcp);
    let mut shapes = Vec::new();
    for family in [0, 1] {
        let (client, vip, every_port) = (CLIENTS[family], VIPS[family], EVERY_PORT_VIPS[family]);
        let neighbours = [["10.200.0.0", "10.200.0.3"], ["fd00:200::", "fd00:1200::1"]];
        for transport in udp.into_iter().chain(tcp) {
            for port in [0, 22, 80, 82, 0x5400, 65_535] {
                shapes.push(Shape::new(client, &at(vip, port), transport));
            }
            for neighbour in neighbours[family] {
                let to = at(neighbour, Kind::OverIpv4.port());
                shapes.push(Shape::new(client, &to, transport));
            }
        }
        for transport in udp {
            shapes.push(Shape::new(client, &at(every_port, 84), transport));
        }
    }
    shapes.push(Shape::udp("0.0.0.0:68", "255.255.255.255:67"));
    shapes.push(Shape::udp("[fe80::1]:546", "[ff02::1:2]:547"));
    // The way back: a service is a destination.
    shapes.push(Shape::tcp("10.200.0.1:84", "198.51.100.7:40000", Segment::SynAck));
    let mut cases = Vec::new();
    for shape in shapes {
        let name = format!("{shape:?}");
        let mut lie = shape.frame();
        let (length, offset) = if shape.vip.is_ipv4() { (2, 12) } else { (4, 12) };
        lie[ETHERNET + length..ETHERNET + length + 2].fill(0xff);
        let lying_offset = shape.transport_offset() + offset;
        lie[lying_offset] = 0;
        cases.push(Case::unchanged(name.clone(), shape.frame(), Verdict::NotService));
        cases.push(Case::unchanged(name, lie, Verdict::NotService));
    }
    cases
}

/// Frames that end before the transport header does.
fn without_transport_header() -> Vec<Case> {
    let mut cases = vec![
        Case::unchanged("14 bytes", vec![0; ETHERNET], Verdict::NotIp),
        Case::unchanged("Ethernet alone", ipv4(6, &[])[..ETHERNET].to_vec(), Verdict::Truncated),
        Case::unchanged("Ethernet alone", ipv6(6, &[])[..ETHERNET].to_vec(), Verdict::Truncated),
    ];
    for protocol in [6, 17] {
        // Four bytes have the ports, which tell that it is for no service: they are zero.
        for (length, verdict) in [
            (0, Verdict::Truncated),
            (3, Verdict::Truncated),
            (4, Verdict::NotService),
            (7, Verdict::NotService),
        ] {
            let payload = vec![0; length];
            for frame in [ipv4(protocol, &payload), ipv6(protocol, &payload)] {
                cases.push(Case::unchanged("no transport header", frame, verdict));
            }
        }
    }
    cases
}

/// An IPv4 packet with any protocol to the address of services.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    let (source, destination) = ([198, 51, 100, 7], [10, 200, 0, 1]);
    let mut header = Ipv4Header::new(length, 64, IpNumber(protocol), source, destination)
        .expect("a short packet");
    header.header_checksum = header.calc_header_checksum();
    let [shape, _] = shapes(Kind::OverIpv4, Transport::Udp);
    [&shape.frame()[..ETHERNET], &header.to_bytes(), payload].concat()
}

/// An IPv6 packet with any next header to the address of services.
fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [_, shape] = shapes(Kind::OverIpv4, Transport::Udp);
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: IpNumber(next_header),
        hop_limit: 255,
        source: [0xfe; 16],
        destination: [0xfd, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ..Ipv6Header::default()
    };
    [&shape.frame()[..ETHERNET], &header.to_bytes(), payload].concat()
}

#[test]
fn frames_for_no_service_pass_unchanged() {
    check(&mut fixture::balancer(), &cases());
}
