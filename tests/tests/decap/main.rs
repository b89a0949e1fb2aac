//! The tunnel's far end: golden tunnels, every cut of them, and the way there and back.

mod gue;
mod second_chance;
mod there_and_back;

use lb_common::{DecapVerdict, Link};
use lb_tests::packets::{
    Carrier, Decap, ETHERNET, GUE_PORT, Gue, Outcome, Prefix, SHORTEST_FRAME, Segment, Shape, Tag,
    Transport, Tunnel, Variant, XdpAction,
    fixture::{Kind, VIPS},
    hex, tagged,
};

const CLIENTS: [&str; 2] = ["198.51.100.7:40000", "[2001:db8::7]:40000"];
/// Our own address as each family writes it, which is not a service's.
const OTHERS: [&str; 2] = ["10.200.0.9", "fd00:200::9"];
const LINK: Link = Link { destination: [2, 0, 0, 0, 0, 3], source: [2, 0, 0, 0, 0, 4] };

/// The far end of the fixture's load balancer, which has the services' addresses.
fn decap() -> Decap {
    let sources =
        [Prefix([10, 1, 255, 0].into(), 24), Prefix([0xfd00, 1, 0, 0, 0, 0, 0xff, 1].into(), 128)];
    let own = [Kind::OverIpv4, Kind::OverIpv6].map(Kind::backend);
    let targets = VIPS.map(|vip| vip.parse().expect("service address"));
    Decap::load(&sources, &own, &targets).expect("the kernel takes the program")
}

/// The tunnel of the outer family, IP in IP.
fn tunnel(outer: usize) -> Tunnel {
    let kind = [Kind::OverIpv4, Kind::OverIpv6][outer];
    Tunnel { link: LINK, ..kind.tunnel(0x2e << 2, 0x1_2345) }
}

/// The forms of GUE, with and without a checksum of UDP's.
fn gue() -> Vec<Carrier> {
    let variants = [
        Variant::Header(Vec::new()),
        Variant::Header(vec![[0x45, 0, 0, 20]; 7]),
        Variant::Header(vec![[0xff; 4]; 31]),
        Variant::Direct,
    ];
    let form = |variant: &Variant, is_summed| {
        Carrier::Gue(Gue { ports: [50_000, GUE_PORT], is_summed, variant: variant.clone() })
    };
    variants.iter().flat_map(|variant| [true, false].map(|sum| form(variant, sum))).collect()
}

fn shape(inner: usize, address: [&str; 2], transport: Transport) -> Shape {
    let vip = match address[inner] {
        ipv6 if ipv6.contains(':') => format!("[{ipv6}]:80"),
        ipv4 => format!("{ipv4}:80"),
    };
    Shape::new(CLIENTS[inner], &vip, transport)
}

/// A tunnelled frame, and what the stack gets to see of it.
struct Tunnelled {
    inner: usize,
    outer: usize,
    tunnel: Tunnel,
    frame: Vec<u8>,
    opened: Vec<u8>,
}

impl Tunnelled {
    /// Where the inner packet starts.
    fn start(&self) -> usize {
        ETHERNET + self.tunnel.overhead()
    }

    /// The frame with one change.
    fn with(&self, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = self.frame.clone();
        change(&mut frame);
        frame
    }
}

/// Every combination of families, TCP and UDP, with and without bytes behind the packet, by IP in
/// IP.
fn tunnelled() -> Vec<Tunnelled> {
    tunnelled_by(&Carrier::Ip)
}

/// The same by every form of GUE.
fn in_gue() -> Vec<Tunnelled> {
    gue().iter().flat_map(tunnelled_by).collect()
}

fn tunnelled_by(carrier: &Carrier) -> Vec<Tunnelled> {
    let mut tunnelled = Vec::new();
    for (inner, outer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for transport in [Transport::Tcp(Segment::Syn), Transport::Udp] {
            for trailer in [0, 7] {
                let mut shape = shape(inner, VIPS, transport);
                shape.trailer = vec![0xee; trailer];
                let packet = shape.frame();
                let tunnel = Tunnel { carrier: carrier.clone(), ..tunnel(outer) };
                tunnelled.push(Tunnelled {
                    inner,
                    outer,
                    frame: tunnel.around(&packet, trailer),
                    tunnel,
                    opened: lb_tests::packets::relinked(&packet, &LINK),
                });
            }
        }
    }
    tunnelled
}

#[track_caller]
fn expect(decap: &mut Decap, frame: &[u8], verdict: DecapVerdict) {
    let outcome = decap.agree(frame);
    let expected = Outcome::of(verdict, frame.to_vec());
    assert!(outcome == expected, "{}\n{outcome}\n{expected}", hex(frame));
}

#[test]
fn tunnels_of_load_balancers_are_opened() {
    let mut decap = decap();
    for case in tunnelled().into_iter().chain(in_gue()) {
        let outcome = decap.agree(&case.frame);
        let expected = Outcome::of(DecapVerdict::Opened, case.opened);
        assert!(outcome == expected, "{outcome}\n{expected}");
    }
}

#[test]
fn vlan_tags_stay_where_they_are() {
    let tags = [Tag::service(100), Tag::customer(7), Tag::customer(8)];
    let mut decap = decap();
    for case in tunnelled().into_iter().chain(in_gue()) {
        for count in 1..=2 {
            let outcome = decap.agree(&tagged(&case.frame, &tags[..count]));
            let opened = tagged(&case.opened, &tags[..count]);
            let expected = Outcome::of(DecapVerdict::Opened, opened);
            assert!(outcome == expected, "{outcome}\n{expected}");
        }
        expect(&mut decap, &tagged(&case.frame, &tags), DecapVerdict::NotTunnel);
    }
}

/// Changes the byte at this offset into the outer IPv4 or IPv6 header of every tunnel, and expects
/// the verdict for it, also where nothing is in the tunnel.
#[track_caller]
fn expect_of_others(decap: &mut Decap, offsets: [usize; 2], verdict: DecapVerdict) {
    for case in tunnelled().into_iter().chain(in_gue()) {
        let at = ETHERNET + offsets[case.outer];
        let foreign = case.with(|frame| frame[at] ^= 0xff);
        expect(decap, &foreign, verdict);
        expect(decap, &foreign[..case.start()], verdict);
    }
}

#[test]
fn tunnels_of_others_pass_unchanged_whatever_is_in_them() {
    let mut decap = decap();
    expect_of_others(&mut decap, [12 + 2, 8 + 15], DecapVerdict::ForeignSource);
    // The last address of the prefix of 24 bits, and the first behind it.
    let first = &tunnelled()[0];
    let last = first.with(|frame| frame[ETHERNET + 15] = 255);
    assert_eq!(decap.agree(&last).verdict, DecapVerdict::Opened);
    let behind = first.with(|frame| frame[ETHERNET + 13] = 2);
    expect(&mut decap, &behind, DecapVerdict::ForeignSource);
}

#[test]
fn tunnels_to_others_pass_unchanged_whatever_is_in_them() {
    let mut decap = decap();
    expect_of_others(&mut decap, [16 + 3, 24 + 15], DecapVerdict::ForeignDestination);
    // An address at which clients may aim ends no tunnel unless it is ours.
    for (outer, vip) in VIPS.into_iter().enumerate() {
        let packet = shape(0, VIPS, Transport::Udp).frame();
        let tunnel = Tunnel { destination: vip.parse().expect("address"), ..tunnel(outer) };
        expect(&mut decap, &tunnel.around(&packet, 0), DecapVerdict::ForeignDestination);
    }
}

/// RFC 6040 section 4.2.
#[test]
fn congestion_on_the_tunnels_way_is_told_to_who_understands_it() {
    const NAMES: [&str; 4] = ["not ECT", "ECT(1)", "ECT(0)", "CE"];
    let mut decap = decap();
    let carriers = [&[Carrier::Ip], &gue()[..]].concat();
    for (number, (inner, outer)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
        for (inside, outside) in (0..4_u8).flat_map(|inside| (0..4).map(move |out| (inside, out))) {
            let choice = usize::from(inside) * 4 + usize::from(outside) + number;
            let carrier = carriers[choice % carriers.len()].clone();
            let packet = |ecn| {
                let mut shape = shape(inner, VIPS, Transport::Tcp(Segment::Ack));
                shape.traffic_class = 0xb8 | ecn;
                shape.frame()
            };
            let tunnel = Tunnel { traffic_class: 0x54 | outside, carrier, ..tunnel(outer) };
            let frame = tunnel.around(&packet(inside), 0);
            let merged = match (inside, outside) {
                (0, 3) => {
                    expect(&mut decap, &frame, DecapVerdict::CongestionNotEcn);
                    continue;
                }
                (1 | 2, 3) => 3,
                (2, 1) => 1,
                _ => inside,
            };
            let outcome = decap.agree(&frame);
            let opened = lb_tests::packets::relinked(&packet(merged), &LINK);
            let expected = Outcome::of(DecapVerdict::Opened, opened);
            let case = [NAMES[usize::from(inside)], NAMES[usize::from(outside)]];
            assert!(outcome == expected, "{case:?}\n{outcome}\n{expected}");
        }
    }
}

#[test]
fn packets_to_an_address_that_is_not_ours_are_dropped() {
    let mut decap = decap();
    for (inner, outer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let packet = shape(inner, OTHERS, Transport::Udp).frame();
        let frame = tunnel(outer).around(&packet, 0);
        expect(&mut decap, &frame, DecapVerdict::NotLocal);
    }
}

#[test]
fn fragments_options_and_extension_headers_of_the_outer_packet_pass() {
    let mut decap = decap();
    for case in tunnelled() {
        let (not_opened, protocol) = if case.outer == 0 {
            let bits = [0x2000_u16, 0x2010, 0x0010, 0x1fff];
            let fragment = |bits: u16| {
                case.with(|frame| {
                    frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&bits.to_be_bytes());
                })
            };
            let mut frames: Vec<_> = bits.into_iter().map(fragment).collect();
            frames.push(case.with(|frame| {
                frame[ETHERNET] = 0x46;
                frame[ETHERNET + 3] += 4;
                frame.splice(ETHERNET + 20..ETHERNET + 20, [1; 4]);
            }));
            (frames, ETHERNET + 9)
        } else {
            let headers = [0, 43, 44, 51, 60];
            let extended = |header: u8| {
                case.with(|frame| {
                    let protocol = std::mem::replace(&mut frame[ETHERNET + 6], header);
                    frame[ETHERNET + 5] += 8;
                    let extension = [protocol, 0, 0, 0, 0, 0, 0, 0];
                    frame.splice(ETHERNET + 40..ETHERNET + 40, extension);
                })
            };
            (headers.into_iter().map(extended).collect(), ETHERNET + 6)
        };
        for frame in not_opened {
            expect(&mut decap, &frame, DecapVerdict::NotTunnel);
        }
        for other in [1, 6, 17, 47, 50, 58, 94, 137] {
            let frame = case.with(|frame| frame[protocol] = other);
            expect(&mut decap, &frame, DecapVerdict::NotTunnel);
        }
        let version = case.with(|frame| frame[ETHERNET] ^= 0x20);
        expect(&mut decap, &version, DecapVerdict::NotTunnel);
        expect(&mut decap, &case.opened, DecapVerdict::NotTunnel);
    }
}

#[test]
fn cut_and_lying_inner_packets_are_dropped() {
    let mut decap = decap();
    for case in tunnelled().into_iter().chain(in_gue()) {
        let (start, length_field) = (case.start(), case.start() + [2, 4][case.inner]);
        for lie in [[0xff, 0xff], [1, 0]] {
            let frame =
                case.with(|frame| frame[length_field..length_field + 2].copy_from_slice(&lie));
            expect(&mut decap, &frame, DecapVerdict::Malformed);
        }
        let version = case.with(|frame| frame[start] ^= 0x20);
        expect(&mut decap, &version, DecapVerdict::Malformed);
        if case.inner == 0 {
            for (at, value) in [(0, 0x44), (0, 0x40), (3, 19), (3, 0)] {
                let frame = case.with(|frame| frame[start + at] = value);
                expect(&mut decap, &frame, DecapVerdict::Malformed);
            }
        }
        // The outer packet is longer than the frame, or too short for the inner one.
        let outer_length = ETHERNET + [3, 5][case.outer];
        let longer = case.with(|frame| frame[outer_length] += 8);
        expect(&mut decap, &longer, DecapVerdict::Malformed);
        let shorter = case.with(|frame| frame[outer_length] -= 1);
        expect(&mut decap, &shorter, DecapVerdict::Malformed);
    }
}

#[test]
fn every_prefix_of_every_tunnel_is_judged_alike() {
    let mut decap = decap();
    for case in tunnelled().into_iter().chain(in_gue()) {
        for length in 0..case.frame.len() {
            let prefix = &case.frame[..length];
            let outcome = if length < SHORTEST_FRAME {
                decap.run_on_host(prefix)
            } else {
                decap.agree(prefix)
            };
            let is_opened = outcome.verdict == DecapVerdict::Opened;
            assert_eq!(is_opened, length >= end_of_packet(&case), "{length} bytes: {outcome}");
            assert_ne!(outcome.action, XdpAction::Aborted);
            if !is_opened {
                assert_eq!(outcome.bytes, prefix);
            }
        }
    }
}

fn end_of_packet(case: &Tunnelled) -> usize {
    let trailer = case.frame.iter().rev().take_while(|byte| **byte == 0xee);
    case.frame.len() - trailer.count()
}
