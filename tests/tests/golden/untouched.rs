//! Frames that are for no service: they pass, and not a byte changes.

use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Segment, Shape, Transport,
    fixture::{self, EVERY_PORT_VIPS, Kind, VIPS},
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
        ("VLAN", 0x8100),
        ("QinQ", 0x88a8),
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
    let tags: [&[u8]; 2] = [&[0x81, 0, 0, 5], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]];
    for tag in tags {
        for shape in shapes(Kind::OverIpv4, Transport::Udp) {
            let mut frame = shape.frame();
            frame.splice(12..12, tag.iter().copied());
            cases.push(Case::unchanged("tagged", frame, Verdict::NotIp));
        }
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

/// More-fragments with offset 0, both, and an offset alone: first, middle and last fragment.
fn fragments() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in [0x2000_u16, 0x2001, 0x2100, 0x3fff, 0x0001, 0x0100, 0x1f00, 0x1fff, 0x6000, 0x4001]
    {
        for transport in TRANSPORTS {
            let [mut shape, _] = shapes(Kind::OverIpv4, transport);
            for words in [0, 3] {
                shape.options = vec![1; words * 4];
                let mut frame = shape.frame();
                frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&bits.to_be_bytes());
                cases.push(Case::unchanged(
                    format!("fragment bits {bits:#x}"),
                    frame,
                    Verdict::Fragment,
                ));
            }
        }
    }
    cases
}

/// RFC 8200 section 4, and the later ones of IANA's list.
fn extension_headers() -> Vec<Case> {
    let mut cases = Vec::new();
    for header in [0, 43, 44, 51, 60, 135, 139, 140] {
        for transport in TRANSPORTS {
            let [_, shape] = shapes(Kind::OverIpv4, transport);
            let mut frame = shape.frame();
            let protocol = std::mem::replace(&mut frame[ETHERNET + 6], header);
            frame.splice(ETHERNET + 40..ETHERNET + 40, [protocol, 0, 0, 0, 0, 0, 0, 0]);
            frame[ETHERNET + 5] += 8;
            cases.push(Case::unchanged(
                format!("extension header {header}"),
                frame,
                Verdict::ExtensionHeader,
            ));
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

/// Frames that end before the transport header does, so that nobody knows whom they are for.
fn without_transport_header() -> Vec<Case> {
    let mut cases = vec![
        Case::unchanged("14 bytes", vec![0; ETHERNET], Verdict::NotIp),
        Case::unchanged("Ethernet alone", ipv4(6, &[])[..ETHERNET].to_vec(), Verdict::Truncated),
        Case::unchanged("Ethernet alone", ipv6(6, &[])[..ETHERNET].to_vec(), Verdict::Truncated),
    ];
    for (protocol, needed) in [(6, 20), (17, 8)] {
        for payload in [0, 4, needed - 1] {
            let payload = vec![0; payload];
            for frame in [ipv4(protocol, &payload), ipv6(protocol, &payload)] {
                cases.push(Case::unchanged("no transport header", frame, Verdict::Truncated));
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
