use super::*;
use crate::{
    balance::balance,
    checksum,
    host::{HostFrame, HostTables},
    policy::flag,
    service::{AddressEntry, ICMP, ICMPV6, TCP},
    slot::Slot,
    testing::{
        self, add_address, add_service, frame, icmp, key, next_hop, sealed, segment_sum, tables,
        udp, under,
    },
};

const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const VIPS: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
const ECHO: [u8; 2] = [ICMP, ICMPV6];
/// Where the transport header is.
const TRANSPORT: [usize; 2] = [34, 54];

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Services of a family whose first backend is behind a small MTU; addresses answer echo requests.
fn site(family: usize, mtu: u16) -> HostTables {
    let mut tables = tables();
    let vip = VIPS[family];
    add_service(&mut tables, key(vip, 80, TCP), 0, 1, Slot::settled(1));
    add_service(&mut tables, key(vip, 53, UDP), 0, 2, Slot::settled(1));
    add_address(&mut tables, key(vip, 0, ECHO[family]), AddressEntry::KNOWN.answering());
    tables.backends[1].set_next_hop(crate::NextHop { mtu, ..next_hop() });
    tables
}

/// Services without backends that refuse.
fn refusing(family: usize) -> HostTables {
    let mut tables = site(family, 1500);
    for line in [1, 2] {
        (0..16).for_each(|slot| tables.slots[line].set(slot, Slot::settled(0)));
    }
    under(&mut tables, 1, testing::policy(flag::REFUSE));
    tables
}

/// What becomes of a frame. One that is not sent keeps its bytes.
fn run(tables: &HostTables, bytes: &[u8]) -> (Verdict, Vec<u8>) {
    let mut frame = HostFrame::new(bytes);
    let verdict = balance(&mut frame, tables);
    if verdict.action() != crate::Action::Transmit {
        assert_eq!(frame.bytes(), bytes, "{verdict:?}");
    }
    (verdict, frame.bytes().to_vec())
}

fn packet(family: usize, protocol: u8, transport: &[u8]) -> Vec<u8> {
    sealed(&frame(CLIENTS[family], VIPS[family], protocol, transport))
}

fn echo(family: usize, id: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let kind = [8, 128][family];
    packet(family, ECHO[family], &icmp(kind, 0, [id[0], id[1], 0, 1], payload))
}

/// Headers and checksums of an answer to a packet between client and service; the rest is for the
/// caller to compare.
fn assert_answers(family: usize, request: &[u8], out: &[u8], protocol: u8) {
    assert_eq!(out[..6], request[6..12], "back to where it came from");
    assert_eq!(out[6..12], request[..6]);
    assert_eq!(out[12..14], request[12..14]);
    let (addresses, length) = ([26..34, 22..54][family].clone(), [4, 16][family]);
    let (before, after) = (&request[addresses.clone()], &out[addresses]);
    assert_eq!((&after[..length], &after[length..]), (&before[length..], &before[..length]));
    assert_eq!(segment_sum(out), 0xffff, "the segment's checksum");
    if family == 0 {
        assert_eq!(out[18..24], [0, 0, 0x40, 0, 64, protocol]);
        assert_eq!(out[16..18], ((out.len() - 14) as u16).to_be_bytes());
        assert_eq!(checksum::sum(&out[14..34]), 0xffff, "the header's checksum");
    } else {
        assert_eq!(out[20..22], [protocol, 64]);
        assert_eq!(out[18..20], ((out.len() - 54) as u16).to_be_bytes());
    }
}

#[test]
fn every_echo_is_the_request_sent_back() {
    for family in [0, 1] {
        let mut tables = site(family, 1500);
        tables.settings.replies_per_tick = u32::MAX;
        for id in (0..=u16::MAX).step_by(if cfg!(miri) { 4099 } else { 1 }) {
            let request = echo(family, id.to_be_bytes(), &[0xa5; 3]);
            let (verdict, out) = run(&tables, &request);
            assert_eq!(verdict, Verdict::EchoAnswered);
            assert_answers(family, &request, &out, ECHO[family]);
            let start = TRANSPORT[family];
            assert_eq!(out[start..start + 2], [[0, 129][family], 0]);
            assert_eq!(out[start + 4..], request[start + 4..]);
        }
    }
}

#[test]
fn a_damaged_echo_stays_damaged() {
    for family in [0, 1] {
        let mut request = echo(family, [1, 2], &[7; 9]);
        *request.last_mut().expect("a payload") ^= 1;
        let (verdict, out) = run(&site(family, 1500), &request);
        assert_eq!(verdict, Verdict::EchoAnswered);
        assert_eq!(segment_sum(&out), segment_sum(&request));
    }
}

#[test]
fn an_echo_with_options_or_lies_is_not_answered() {
    let options = testing::with_options(&echo(0, [1, 2], &[]), &[1; 4]);
    assert_eq!(run(&site(0, 1500), &options).0, Verdict::NotTransport);
    let extended = testing::with_extensions(&echo(1, [1, 2], &[]), &[(60, vec![0; 8])]);
    assert_eq!(run(&site(1, 1500), &extended).0, Verdict::NotTransport);
    for (family, field) in [(0, 17), (1, 19)] {
        for length in [-1_i8, 1] {
            let mut lie = echo(family, [1, 2], &[]);
            lie[field] = lie[field].wrapping_add_signed(length);

            assert_eq!(run(&site(family, 1500), &lie).0, Verdict::Malformed, "{family} {length}");
        }
    }
}

#[test]
fn too_big_packets_are_answered_with_the_mtu() {
    for family in [0, 1] {
        for (protocol, header) in [(TCP, testing::tcp(7, 80, ACK)), (UDP, udp(7, 53, &[]))] {
            let mut transport = [header, vec![0x5a; 1400]].concat();
            if protocol == UDP {
                transport[4..6].copy_from_slice(&1408_u16.to_be_bytes());
            }
            let request = packet(family, protocol, &transport);
            let (verdict, out) = run(&site(family, 1300), &request);
            assert_eq!(verdict, Verdict::TooBigTold);
            assert_answers(family, &request, &out, ECHO[family]);
            let start = TRANSPORT[family];
            let message = [[3, 4], [2, 0]][family];
            assert_eq!(out[start..start + 2], message);
            assert_eq!(out[start + 4..start + 8], [0, 0, 5, 20]);
            assert_eq!(out[start + 8..], request[14..14 + 128], "as it came");
        }
    }
}

#[test]
fn no_mtu_is_told_where_it_would_not_help() {
    let packet = |family: usize, length: usize| {
        packet(family, UDP, &udp(7, 53, &vec![0; length - [28, 48][family]]))
    };
    let without_flag = testing::with_piece(&packet(0, 1400), 1, 0);
    assert_eq!(run(&site(0, 1300), &without_flag).0, Verdict::TooBig);
    assert_eq!(run(&site(0, 1300), &packet(0, 1301)).0, Verdict::TooBigTold);
    assert_eq!(run(&site(0, 67), &packet(0, 68)).0, Verdict::TooBig, "no link is so small");
    // RFC 8201: whoever is told less than 1280 sends 1280.
    assert_eq!(run(&site(1, 1000), &packet(1, 1280)).0, Verdict::TooBig);
    let (verdict, out) = run(&site(1, 1000), &packet(1, 1281));
    assert_eq!((verdict, &out[58..62]), (Verdict::TooBigTold, &[0, 0, 5, 0][..]));
}

#[test]
fn the_last_hop_is_told_so() {
    for (family, field) in [(0, 22), (1, 21)] {
        // With a short quote, and with a long one.
        for payload in [0, 200] {
            let mut request = packet(family, UDP, &udp(7, 53, &vec![3; payload]));
            request[field] = 1;
            let request = sealed(&request);
            let (verdict, out) = run(&site(family, 1500), &request);
            assert_eq!(verdict, Verdict::HopLimitTold);
            assert_answers(family, &request, &out, ECHO[family]);
            let start = TRANSPORT[family];
            assert_eq!(out[start..start + 2], [[11, 0], [3, 0]][family]);
            assert_eq!(out[start + 4..start + 8], [0; 4]);
            let quote = if payload == 0 { [28, 48][family] } else { 128 };
            assert_eq!(out[start + 8..], request[14..14 + quote]);
        }
    }
}

#[test]
fn a_quote_without_ports_is_not_sent() {
    let mut request = testing::with_options(&packet(0, UDP, &udp(7, 53, &[])), &[1; 40]);
    request[22] = 1;
    assert_eq!(run(&site(0, 1500), &sealed(&request)).0, Verdict::HopLimit);
    let mut longer = testing::with_options(&packet(0, UDP, &udp(7, 53, &[0; 60])), &[1; 40]);
    longer[22] = 1;
    assert_eq!(run(&site(0, 1500), &sealed(&longer)).0, Verdict::HopLimitTold);
}

#[test]
fn a_segment_is_refused_by_a_reset() {
    let sequence = 0xffff_fffe_u32;
    for family in [0, 1] {
        for (flags, payload, expected) in [
            (SYN, 0, (0, sequence.wrapping_add(1), RST | ACK)),
            (SYN | FIN, 5, (0, sequence.wrapping_add(7), RST | ACK)),
            (0, 9, (0, sequence.wrapping_add(9), RST | ACK)),
            (ACK, 9, (0x0a0b_0c0d, 0, RST)),
            (SYN | ACK, 0, (0x0a0b_0c0d, 0, RST)),
            (FIN | ACK, 0, (0x0a0b_0c0d, 0, RST)),
        ] {
            let mut segment = [testing::tcp(7, 80, flags), vec![1; 4 + payload]].concat();
            segment[4..8].copy_from_slice(&sequence.to_be_bytes());
            segment[8..12].copy_from_slice(&[0x0a, 0x0b, 0x0c, 0x0d]);
            // A header with options is one of 24 bytes.
            segment[12] = 6 << 4;
            let request = packet(family, TCP, &segment);
            let (verdict, mut out) = run(&refusing(family), &request);
            assert_eq!(verdict, Verdict::Refused, "{flags:#x}");
            let length = TRANSPORT[family] + 20;
            assert_eq!(out.len(), length.max(60).min(request.len()));
            out.truncate(length);
            assert_answers(family, &request, &out, TCP);
            let tcp = &out[TRANSPORT[family]..];
            assert_eq!(tcp[..4], [0, 80, 0, 7], "ports");
            let (sequence, acknowledgment, flags): (u32, u32, u8) = expected;
            assert_eq!(tcp[4..8], sequence.to_be_bytes());
            assert_eq!(tcp[8..12], acknowledgment.to_be_bytes());
            assert_eq!(tcp[12..16], [5 << 4, flags, 0, 0]);
            assert_eq!(tcp[18..], [0, 0]);
        }
    }
}

#[test]
fn a_datagram_is_refused_as_by_a_host_without_the_port() {
    for family in [0, 1] {
        let request = packet(family, UDP, &udp(7, 53, &[9; 3]));
        let (verdict, out) = run(&refusing(family), &request);
        assert_eq!(verdict, Verdict::Refused);
        assert_answers(family, &request, &out, ECHO[family]);
        let start = TRANSPORT[family];
        assert_eq!(out[start..start + 2], [[3, 3], [1, 4]][family]);
        assert_eq!(out[start + 8..], request[14..14 + [28, 48][family]]);
    }
}

#[test]
fn what_must_not_be_answered_is_not() {
    let tables = refusing(0);
    let reset = |flags| packet(0, TCP, &testing::tcp(7, 80, flags));
    assert_eq!(run(&tables, &reset(RST)).0, Verdict::NoBackend);
    assert_eq!(run(&tables, &reset(RST | ACK)).0, Verdict::NoBackend);
    let first = testing::with_piece(&reset(SYN), 1, 0x2000);
    assert_eq!(run(&tables, &first).0, Verdict::NoBackend, "a reset for a fragment");
    let datagram = testing::with_piece(&packet(0, UDP, &udp(7, 53, &[0; 16])), 2, 0x2000);
    assert_eq!(run(&tables, &datagram).0, Verdict::Refused);
    let later = testing::with_piece(&packet(0, UDP, &[0; 16]), 2, 3);
    assert_eq!(run(&tables, &later).0, Verdict::NoBackend, "a later fragment");
    let quote = frame(VIPS[0], CLIENTS[0], TCP, &testing::tcp(80, 7, ACK));
    let error = packet(0, ICMP, &icmp(3, 1, [0; 4], &quote[14..42]));
    assert_eq!(run(&tables, &error).0, Verdict::NoBackend, "an ICMP error");
}

#[test]
fn whoever_cannot_be_one_host_gets_no_answer() {
    let sources: [&[&str]; 2] = [
        &[
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
        ],
        &["::", "::1", "ff02::1", "ff0e::5"],
    ];
    for family in [0, 1] {
        for source in sources[family] {
            let bytes = sealed(&frame(source, VIPS[family], UDP, &udp(7, 53, &[])));
            assert_eq!(run(&refusing(family), &bytes).0, Verdict::NoBackend, "{source}");
            let request = icmp([8, 128][family], 0, [0; 4], &[]);
            let bytes = sealed(&frame(source, VIPS[family], ECHO[family], &request));
            assert_eq!(run(&site(family, 1500), &bytes).0, Verdict::NotTransport, "{source}");
        }
        // Hardware addresses of groups: to all of them, or from what cannot be.
        for at in [0, 6] {
            let mut bytes = packet(family, UDP, &udp(7, 53, &[]));
            bytes[at] |= 1;
            assert_eq!(run(&refusing(family), &bytes).0, Verdict::NoBackend, "{at}");
        }
    }
}

#[test]
fn tags_stay() {
    let tags = [[0x88, 0xa8, 0x60, 1], [0x81, 0, 0, 2]];
    for family in [0, 1] {
        let mut last_hop = packet(family, UDP, &udp(7, 53, &[0; 200]));
        last_hop[[22, 21][family]] = 1;
        let last_hop = sealed(&last_hop);
        for (tables, request) in [
            (site(family, 1500), echo(family, [1, 2], &[5; 40])),
            (site(family, 1500), last_hop),
            (
                refusing(family),
                packet(family, TCP, &[&testing::tcp(7, 80, SYN)[..], &[0; 40]].concat()),
            ),
        ] {
            let (verdict, plain) = run(&tables, &request);
            for count in [1, 2] {
                let (with_tags, tagged) =
                    run(&tables, &testing::with_tags(&request, &tags[..count]));
                assert_eq!(with_tags, verdict);
                let expected = testing::with_tags(&plain, &tags[..count]);
                assert_eq!(
                    tagged[..expected.len().min(tagged.len())],
                    expected[..expected.len().min(tagged.len())]
                );
                assert!(tagged.len() >= 60);
            }
        }
    }
}

#[test]
fn the_budget_ends_and_comes_back() {
    for family in [0, 1] {
        let mut tables = refusing(family);
        // Half of it is for what anybody can ask for.
        tables.settings.replies_per_tick = 4;
        let segment = packet(family, TCP, &testing::tcp(7, 80, SYN));
        let datagram = packet(family, UDP, &udp(7, 53, &[]));
        assert_eq!(run(&tables, &segment).0, Verdict::Refused);
        assert_eq!(run(&tables, &datagram).0, Verdict::Refused);
        for bytes in [segment.clone(), datagram, echo(family, [1, 2], &[])] {
            assert_eq!(run(&tables, &bytes).0, Verdict::ReplyLimited);
        }
        tables.now += 1;
        assert_eq!(run(&tables, &segment).0, Verdict::Refused);
    }
}

/// What is not answered spends nothing.
#[test]
fn only_answers_are_counted_against_the_budget() {
    let mut tables = refusing(0);
    tables.settings.replies_per_tick = 2;
    for _ in 0..5 {
        let reset = packet(0, TCP, &testing::tcp(7, 80, RST));
        assert_eq!(run(&tables, &reset).0, Verdict::NoBackend);
    }
    let segment = packet(0, TCP, &testing::tcp(7, 80, SYN));
    assert_eq!(run(&tables, &segment).0, Verdict::Refused);
}

#[test]
fn without_room_before_the_frame_nothing_is_changed() {
    let tables = site(0, 1500);
    let mut request = packet(0, UDP, &udp(7, 53, &[]));
    request[22] = 1;
    let mut frame = HostFrame::new(&request);
    // 256 bytes of room, all but 27 of which are taken and given back as bytes of the frame.
    assert!(frame.grow(229));
    for (at, byte) in request.iter().enumerate() {
        *frame.header_mut::<[u8; 1]>(at).expect("room") = [*byte];
    }
    let bytes = frame.bytes().to_vec();
    assert_eq!(balance(&mut frame, &tables), Verdict::NoHeadroom);
    assert_eq!(frame.bytes(), bytes);
}
