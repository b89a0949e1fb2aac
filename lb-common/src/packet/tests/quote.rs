//! ICMP errors and echoes.

use super::*;
use crate::{
    service::{ICMP, ICMPV6},
    verdict::Verdict,
};

const ROUTERS: [&str; 2] = ["203.0.113.1", "2001:db8:ffff::1"];
/// An unreachable destination.
const UNREACHABLE: [u8; 2] = [3, 1];

/// An error from a router about a packet, of which it quotes `length` bytes.
fn error(family: usize, kind: u8, quoted: &[u8], length: usize) -> Vec<u8> {
    let quote = &quoted[14..quoted.len().min(14 + length)];
    let protocol = [ICMP, ICMPV6][family];
    frame(ROUTERS[family], VIPS[family], protocol, &testing::icmp(kind, 0, [0; 4], quote))
}

/// The service's packet to a client.
fn answer(family: usize, protocol: u8, transport: &[u8]) -> Vec<u8> {
    frame(VIPS[family], CLIENTS[family], protocol, transport)
}

#[test]
fn an_error_belongs_to_the_flow_that_it_quotes() {
    for family in [0, 1] {
        let header = [20, 40][family];
        for (protocol, transport, age) in [
            (TCP, testing::tcp(80, 4000, ACK), Age::Continues),
            (UDP, udp(80, 4000, &[1; 9]), Age::Unknown),
        ] {
            let quoted = answer(family, protocol, &transport);
            // Eight bytes behind the IP header suffice, RFC 792, and more do no harm.
            for length in [header + 8, quoted.len() - 14] {
                let bytes = error(family, UNREACHABLE[family], &quoted, length);
                let seen = testing::seen(&bytes).expect("an error");
                assert!(matches!(seen.kind, Kind::Error { .. }));
                let packet = seen.packet;
                assert_eq!(packet.key, key(VIPS[family], 80, protocol));
                assert_eq!(packet.client(), words(CLIENTS[family]));
                assert_eq!((packet.client_port(), packet.age), (4000, age));
                // Lengths are those of the error.
                assert_eq!(packet.length as usize, bytes.len() - 14);
                assert!(packet.is_well_formed(&HostFrame::new(&bytes)));
            }
        }
    }
}

#[test]
fn a_quote_without_ports_is_nobodys() {
    for family in [0, 1] {
        let quoted = answer(family, UDP, &udp(80, 4000, &[]));
        let header = [20, 40][family];
        for length in [0, header - 1, header, header + 3] {
            let bytes = error(family, UNREACHABLE[family], &quoted, length);
            assert_eq!(testing::seen(&bytes).err(), Some(Verdict::NotTransport), "{length}");
        }
        let other = answer(family, 132, &udp(80, 4000, &[]));
        let bytes = error(family, UNREACHABLE[family], &other, 64);
        assert_eq!(testing::seen(&bytes).err(), Some(Verdict::NotTransport));
    }
    let later = testing::with_piece(&answer(0, UDP, &udp(80, 4000, &[])), 1, 5);
    let bytes = error(0, UNREACHABLE[0], &later, 28);
    assert_eq!(testing::seen(&bytes).err(), Some(Verdict::NotTransport), "a later fragment");
}

#[test]
fn a_quote_of_anothers_packet_is_nobodys() {
    for family in [0, 1] {
        let others = ["10.200.0.2", "fd00:200::2"];
        let quoted = frame(others[family], CLIENTS[family], UDP, &udp(80, 4000, &[]));
        let bytes = error(family, UNREACHABLE[family], &quoted, 64);
        assert_eq!(testing::seen(&bytes).err(), Some(Verdict::NotTransport));
    }
}

#[test]
fn quoted_options_and_fragment_headers_are_skipped() {
    let quoted = testing::with_options(&answer(0, UDP, &udp(80, 4000, &[])), &[1; 8]);
    let seen = testing::seen(&error(0, 3, &quoted, 36)).expect("an error");
    assert_eq!((seen.packet.key.port(), seen.packet.client_port()), (80, 4000));

    let header = |low| (44, vec![0, 0, 0, low, 0, 0, 0, 1]);
    let quoted = answer(1, UDP, &udp(80, 4000, &[]));
    let first = testing::with_extensions(&quoted, &[header(1)]);
    let seen = testing::seen(&error(1, 1, &first, 56)).expect("an error");
    assert_eq!((seen.packet.key.port(), seen.packet.client_port()), (80, 4000));
    let later = testing::with_extensions(&quoted, &[header(8)]);
    assert_eq!(testing::seen(&error(1, 1, &later, 56)).err(), Some(Verdict::NotTransport));
}

#[test]
fn only_errors_and_echo_requests_may_concern_a_service() {
    for family in [0, 1] {
        let quoted = answer(family, UDP, &udp(80, 4000, &[]));
        let (errors, request, reply) =
            ([&[3, 4, 11, 12], &[1, 2, 3, 4]][family], [8, 128][family], [0, 129][family]);
        for kind in (0..=255).filter(|kind| *kind != reply) {
            let seen = testing::seen(&error(family, kind, &quoted, 64)).map(|seen| seen.kind);
            if kind == request {
                assert_eq!(seen, Ok(Kind::Echo), "{kind}");
            } else {
                let is_error = matches!(seen, Ok(Kind::Error { .. }));
                assert_eq!(is_error, errors.contains(&kind), "{kind}");
                assert!(is_error || seen == Err(Verdict::NotTransport), "{kind}");
            }
        }
    }
}

#[test]
fn the_identifier_of_an_echo_is_its_port() {
    for family in [0, 1] {
        let request = testing::icmp([8, 128][family], 0, [0xab, 0xcd, 0, 1], &[7; 5]);
        let bytes = frame(CLIENTS[family], VIPS[family], [ICMP, ICMPV6][family], &request);
        let seen = testing::seen(&bytes).expect("an echo request");
        assert_eq!((seen.kind, seen.packet.client_port()), (Kind::Echo, 0xabcd));
        assert_eq!(seen.packet.key, key(VIPS[family], 0, [ICMP, ICMPV6][family]));
    }
}
