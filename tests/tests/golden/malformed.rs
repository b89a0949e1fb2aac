//! Packets for a service whose length fields contradict themselves or the frame.

use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Segment, Shape, Transport,
    fixture::{self, Kind},
};

use crate::{Case, check, forwarded::shapes};

const KINDS: [Kind; 4] = [
    Kind::L2,
    Kind::OverIpv4,
    Kind::OverIpv6,
    // Malformed comes first: nobody is told about backends for a packet that is none.
    Kind::NoBackend,
];
const TRANSPORTS: [Transport; 3] =
    [Transport::Tcp(Segment::Syn), Transport::Tcp(Segment::Ack), Transport::Udp];

/// Every case of a packet that is dropped for its lengths.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in TRANSPORTS {
            for shape in shapes(kind, transport) {
                cases.extend(lying_ip_length(&shape));
                cases.extend(match transport {
                    Transport::Tcp(_) => lying_data_offset(&shape),
                    Transport::Udp | Transport::UdpWithoutChecksum => lying_udp_length(&shape),
                });
            }
        }
    }
    cases.extend(options_beyond_the_packet());
    cases.extend(half_a_transport_header());
    cases
}

/// Longer than the frame, shorter than its headers, or nothing at all.
fn lying_ip_length(shape: &Shape) -> Vec<Case> {
    let length = shape.frame().len() - ETHERNET;
    let headers = shape.transport_offset() - ETHERNET
        + match shape.transport {
            Transport::Tcp(_) => 20,
            Transport::Udp | Transport::UdpWithoutChecksum => 8,
        };
    let too_short: Vec<usize> = if shape.vip.is_ipv4() {
        vec![0, 1, 19, 20, 21, headers - 1]
    } else {
        // IPv6 does not count its own header, and a length of zero is not "unknown" here.
        vec![40, 41, 47, headers - 1]
    };
    let lies = too_short.into_iter().chain([length + 1, length + 2, length + 1000, 65_535]);
    lies.map(|lie| {
        let mut frame = shape.frame();
        write_ip_length(&mut frame, lie);
        let name = format!("IP length {lie} of {length} {shape:?}");
        Case::unchanged(name, frame, Verdict::Malformed)
    })
    .collect()
}

/// The length of the IP packet with its header, which IPv6's field does not count.
fn write_ip_length(frame: &mut [u8], length: usize) {
    let (field, value) = match frame[ETHERNET] >> 4 {
        4 => (ETHERNET + 2, length),
        _ => (ETHERNET + 4, length - 40),
    };
    frame[field..field + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

fn lying_data_offset(shape: &Shape) -> Vec<Case> {
    let mut cases = Vec::new();
    // 20 bytes of header and 26 of payload are less than 12 words.
    for words in [0, 1, 2, 3, 4, 12, 13, 14, 15] {
        let mut frame = shape.frame();
        frame[shape.transport_offset() + 12] = words << 4;
        let name = format!("data offset {words} {shape:?}");
        cases.push(Case::unchanged(name, frame, Verdict::Malformed));
    }
    // The header is longer than the packet, which bytes behind the packet do not change.
    let mut frame = shape.frame();
    frame[shape.transport_offset() + 12] = 15 << 4;
    frame.extend_from_slice(&[0; 64]);
    cases.push(Case::unchanged("data offset into the trailer", frame, Verdict::Malformed));
    cases
}

fn lying_udp_length(shape: &Shape) -> Vec<Case> {
    let length = 8 + shape.payload.len();
    let mut cases = Vec::new();
    for lie in [0, 1, 7, length + 1, length + 8, 65_535] {
        for trailer in [0, 64] {
            let mut frame = shape.frame();
            let field = shape.transport_offset() + 4;
            frame[field..field + 2].copy_from_slice(&(lie as u16).to_be_bytes());
            frame.extend(std::iter::repeat_n(0, trailer));
            let name = format!("UDP length {lie} of {length} {shape:?}");
            cases.push(Case::unchanged(name, frame, Verdict::Malformed));
        }
    }
    cases
}

/// The IP header takes what the transport header needs, though the frame has room for both.
fn options_beyond_the_packet() -> Vec<Case> {
    let mut cases = Vec::new();
    for transport in TRANSPORTS {
        let [mut shape, _] = shapes(Kind::OverIpv4, transport);
        shape.options = vec![1; 40];
        let mut frame = shape.frame();
        write_ip_length(&mut frame, 60);
        cases.push(Case::unchanged("options alone", frame, Verdict::Malformed));
    }
    cases
}

/// The ports are there, and whom they name has no use for the rest.
fn half_a_transport_header() -> Vec<Case> {
    let mut cases = Vec::new();
    for transport in TRANSPORTS {
        for shape in shapes(Kind::OverIpv4, transport) {
            for length in [4, 7] {
                let mut frame = shape.frame();
                frame.truncate(shape.transport_offset() + length);
                let packet = frame.len() - ETHERNET;
                write_ip_length(&mut frame, packet);
                cases.push(Case::unchanged("half a header", frame, Verdict::Malformed));
            }
        }
    }
    cases
}

#[test]
fn packets_with_lying_lengths_are_dropped() {
    check(&mut fixture::balancer(), &cases());
}
