use std::net::IpAddr;

use super::*;
use crate::packets::{
    ETHERNET, Extension, Segment, Shape, Tag, Tunnel, extended, fixture::Kind, fragments, icmp,
    relinked, tagged,
};

const PAIRS: [(&str, &str); 2] =
    [("198.51.100.7:40000", "10.200.0.1:80"), ("[2001:db8::7]:40000", "[fd00:200::1]:80")];

fn sent(bytes: Vec<u8>) -> Outcome<Verdict> {
    Outcome::of(Verdict::Transmitted, bytes)
}

/// Every byte is of account: for each one of the packet behind `from`, the frame with that byte
/// changed must be found out, unless `is_free` says that nobody cares.
fn expect_every_byte_to_count(input: &[u8], output: &[u8], is_free: impl Fn(usize) -> bool) {
    assert_eq!(check(input, &sent(output.to_vec())), Ok(()));
    for at in (ETHERNET..output.len()).filter(|at| !is_free(*at)) {
        let mut damaged = output.to_vec();
        damaged[at] ^= 0x10;
        assert!(check(input, &sent(damaged)).is_err(), "a change of byte {at} is not seen");
    }
}

/// The packet with everything right and these fields replaced.
fn translated(shape: &Shape) -> Shape {
    let (client, vip) = PAIRS[usize::from(shape.client.is_ipv6())];
    let mut other = shape.clone();
    (other.client, other.vip) =
        (client.replace('7', "9").parse().expect("address"), vip.parse().expect("address"));
    other.vip.set_port(8080);
    other
}

#[test]
fn a_passed_frame_must_not_change() {
    let frame = Shape::tcp(PAIRS[0].0, PAIRS[0].1, Segment::Syn).frame();
    let changed = relinked(&frame, &Kind::L2.route().expect("a way").next.link);
    for verdict in [Verdict::NotService, Verdict::NoBackend] {
        assert_eq!(check(&frame, &Outcome::of(verdict, frame.clone())), Ok(()));
        assert!(check(&frame, &Outcome::of(verdict, changed.clone())).is_err());
    }
}

#[test]
fn every_byte_of_an_outer_header_counts() {
    for (client, vip) in PAIRS {
        let frame = Shape::udp(client, vip).frame();
        for kind in [Kind::OverIpv4, Kind::OverIpv6] {
            let tunnel: Tunnel = kind.tunnel(0, 7);
            let output = tunnel.around(&frame, 0);
            let (v4, outer) = (kind == Kind::OverIpv4, output.len() - frame.len());
            // IPv6 has no checksum over its addresses, class and flow label; the hop limit is ours.
            let is_free = |at: usize| match at - ETHERNET {
                0..4 | 7.. if !v4 && at < ETHERNET + outer => at != ETHERNET,
                // Hop limit of the packet inside, if it is IPv6: translation may change it.
                inner => client.starts_with('[') && inner == outer + 7,
            };
            expect_every_byte_to_count(&frame, &output, is_free);
        }
    }
}

/// The packet of a frame in UDP over IPv4, behind `header` and with this checksum; `None` is the
/// right one.
fn in_udp(frame: &[u8], header: &[u8], checksum: Option<u16>) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10; 4], [11; 4], 64);
    let payload = [header, &frame[ETHERNET..]].concat();
    let mut bytes = Vec::new();
    builder.udp(50_000, 6080).write(&mut bytes, &payload).expect("a vector takes it");
    if let Some(checksum) = checksum {
        bytes[ETHERNET + 26..ETHERNET + 28].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

#[test]
fn a_udp_tunnel_has_a_right_length_and_no_or_a_right_checksum() {
    for (header, (client, vip)) in [&[][..], &[0, 4, 0, 0]].into_iter().zip([PAIRS[0]; 2]) {
        let frame = Shape::udp(client, vip).frame();
        for (checksum, is_right) in [(None, true), (Some(0), true), (Some(0xbad), false)] {
            let output = sent(in_udp(&frame, header, checksum));
            assert_eq!(check(&frame, &output).is_ok(), is_right, "{checksum:?}");
        }
        let mut long = in_udp(&frame, header, Some(0));
        long[ETHERNET + 25] += 1;
        assert!(check(&frame, &sent(long)).is_err());
        // A checksum that was derived from a wrong one is wrong.
        let mut damaged = frame;
        *damaged.last_mut().expect("a payload") ^= 1;
        let output = in_udp(&damaged, header, Some(0xbad));
        assert_eq!(check(&damaged, &sent(output)), Ok(()));
    }
}

#[test]
fn every_byte_of_a_gue_header_counts() {
    let frame = Shape::udp(PAIRS[1].0, PAIRS[1].1).frame();
    let right = in_udp(&frame, &[0, 41, 0, 0], Some(0));
    assert_eq!(check(&frame, &sent(right.clone())), Ok(()));
    for at in ETHERNET + 28..ETHERNET + 32 {
        let mut wrong = right.clone();
        wrong[at] ^= 4;
        assert!(check(&frame, &sent(wrong)).is_err(), "byte {at}");
    }
}

#[test]
fn a_translated_packet_keeps_its_payload_and_its_validity() {
    for (client, vip) in PAIRS {
        for shape in [Shape::tcp(client, vip, Segment::Ack), Shape::udp(client, vip)] {
            let (input, output) = (shape.frame(), translated(&shape).frame());
            let v4 = shape.client.is_ipv4();
            // Without a checksum over it, nobody can tell a hop limit from another.
            expect_every_byte_to_count(&input, &output, |at| !v4 && at == ETHERNET + 7);
            // Damaged packets stay damaged, in the same way.
            let damage = |mut frame: Vec<u8>| {
                *frame.last_mut().expect("a payload") ^= 1;
                frame
            };
            let damaged = damage(input.clone());
            assert!(check(&damaged, &sent(output.clone())).is_err(), "repaired");
            assert_eq!(check(&damaged, &sent(damage(output.clone()))), Ok(()));
            assert!(check(&input, &sent(damage(output))).is_err());
        }
    }
}

#[test]
fn a_missing_udp_checksum_stays_missing_and_a_present_one_present() {
    let shape = Shape::udp(PAIRS[0].0, PAIRS[0].1);
    let without = |shape: &Shape| {
        Shape { transport: crate::packets::Transport::UdpWithoutChecksum, ..shape.clone() }.frame()
    };
    let other = translated(&shape);
    assert_eq!(check(&without(&shape), &sent(without(&other))), Ok(()));
    assert!(check(&without(&shape), &sent(other.frame())).is_err());
    assert!(check(&shape.frame(), &sent(without(&other))).is_err());
}

#[test]
fn fragments_and_chains_and_tags_are_read_through() {
    for (client, vip) in PAIRS {
        let shape = Shape::udp(client, vip);
        let other = translated(&shape);
        let pairs = fragments(&shape.frame(), 16, 3).into_iter();
        for (input, output) in pairs.zip(fragments(&other.frame(), 16, 3)) {
            assert_eq!(check(&input, &sent(output.clone())), Ok(()));
            let tags = [Tag::service(1), Tag::customer(2)];
            let (input, output) = (tagged(&input, &tags), tagged(&output, &tags));
            assert_eq!(check(&input, &sent(output.clone())), Ok(()));
            let mut damaged = output.clone();
            *damaged.last_mut().expect("a payload") ^= 1;
            assert!(check(&input, &sent(damaged)).is_err());
            assert!(check(&input, &sent(tagged(&output[..], &tags))).is_err(), "tags were added");
        }
    }
    let shape = Shape::udp(PAIRS[1].0, PAIRS[1].1);
    let chain = [Extension::HopByHop(1), Extension::Authentication, Extension::Destination(3)];
    let output = extended(&translated(&shape).frame(), &chain);
    let free = |at| at == ETHERNET + 7;
    expect_every_byte_to_count(&extended(&shape.frame(), &chain), &output, free);
}

#[test]
fn replies_are_right_whatever_they_reply_to() {
    for (client, vip) in PAIRS {
        let shape = Shape::tcp(client, vip, Segment::Syn);
        let mut request = shape.frame();
        // A request with a wrong checksum does not excuse a wrong reply.
        *request.last_mut().expect("a payload") ^= 1;
        let reset =
            Shape { transport: crate::packets::Transport::Tcp(Segment::Reset), ..shape.answer() };
        let (before, reply) = (Headers::of(&request), reset.frame());
        let judge = |input: &[u8], output: &[u8]| {
            let (input, output) = (Headers::of(input), Headers::of(output));
            replies::check(&input.expect("a packet"), &output.expect("a packet"))
        };
        assert!(before.is_some());
        assert_eq!(judge(&request, &reply), Ok(()));
        for at in reset.transport_offset()..reply.len() {
            let mut damaged = reply.clone();
            damaged[at] ^= 1;
            assert!(judge(&request, &damaged).is_err(), "byte {at}");
        }
        assert!(judge(&request, &shape.frame()).is_err(), "not to the client");
        assert!(
            judge(&reply, &Shape { transport: reset.transport, ..shape.clone() }.frame()).is_err()
        );
        let router: IpAddr = shape.client.ip();
        let error = icmp::error(router, &shape, icmp::Complaint::Unreachable, 8);
        assert!(judge(&error, &reply).unwrap_err().contains("ICMP error"));
    }
}

#[test]
fn an_opened_frame_may_differ_in_its_congestion_mark_alone() {
    for (client, vip) in PAIRS {
        let shape = Shape { traffic_class: 2, ..Shape::udp(client, vip) };
        let (frame, marked) = (shape.frame(), Shape { traffic_class: 3, ..shape.clone() }.frame());
        let tunnel = Kind::OverIpv4.tunnel(3, 0).around(&frame, 0);
        let judge =
            |verdict, bytes: &[u8]| check_far_end(&tunnel, &Outcome::of(verdict, bytes.to_vec()));
        assert_eq!(judge(DecapVerdict::Opened, &frame), Ok(()));
        assert_eq!(judge(DecapVerdict::Opened, &marked), Ok(()));
        assert!(judge(DecapVerdict::NotTunnel, &frame).is_err());
        let mut damaged = frame.clone();
        *damaged.last_mut().expect("a payload") ^= 1;
        assert!(judge(DecapVerdict::Opened, &damaged).is_err());
        let other_class = Shape { traffic_class: 0x12, ..shape }.frame();
        assert!(judge(DecapVerdict::Opened, &other_class).is_err());
    }
}
