//! TTL and hop limit of packets that are sent on.

use super::*;

const IPV6: [&str; 2] = ["2001:db8::7", "fd00:200::1"];

fn both() -> (HostTables, [Vec<u8>; 2]) {
    let mut tables = serving(Slot::settled(1));
    add_service(&mut tables, key(IPV6[1], 80, TCP), 0, 3, Slot::settled(1));
    let ipv6 = frame(IPV6[0], IPV6[1], TCP, &testing::tcp(1, 80, ACK));
    (tables, [tcp_frame(1, ACK), ipv6].map(|bytes| testing::sealed(&bytes)))
}

#[test]
fn one_is_taken_off_and_the_checksum_stays_right() {
    let (tables, frames) = both();
    for (mut bytes, at) in frames.into_iter().zip([22, 21]) {
        for limit in 2..=255 {
            for id in [0, 0x1234, 0x4321, 0xffff] {
                bytes[at] = limit;
                if at == 22 {
                    bytes = testing::with_piece(&bytes, id, 0x4000);
                }
                bytes = testing::sealed(&bytes);
                let mut frame = HostFrame::new(&bytes);
                assert_eq!(balance(&mut frame, &tables), Verdict::Transmitted);
                assert_eq!(frame.bytes()[at], limit - 1);
                if at == 22 {
                    let sum = crate::checksum::sum(&frame.bytes()[14..34]);
                    assert_eq!(sum, 0xffff, "{limit} {id:#x}");
                }
            }
        }
    }
}

/// Of a sum that is right in either of its forms, and of one that is wrong.
#[test]
fn every_checksum_is_as_right_as_it_was() {
    let (tables, [bytes, _]) = both();
    for check in (0..=u16::MAX).step_by(if cfg!(miri) { 4099 } else { 1 }) {
        let mut bytes = bytes.clone();
        bytes[24..26].copy_from_slice(&check.to_be_bytes());
        let before = crate::checksum::sum(&bytes[14..34]);
        let mut frame = HostFrame::new(&bytes);
        assert_eq!(balance(&mut frame, &tables), Verdict::Transmitted);
        let after = crate::checksum::sum(&frame.bytes()[14..34]);
        assert_eq!(after % 0xffff, before % 0xffff, "{check:#x}");
    }
}

#[test]
fn the_last_hop_is_not_sent_on() {
    let (mut tables, frames) = both();
    tables.settings.replies_per_tick = 0;
    for (mut bytes, at) in frames.into_iter().zip([22, 21]) {
        for limit in [0, 1] {
            bytes[at] = limit;
            let mut frame = HostFrame::new(&bytes);
            assert_eq!(balance(&mut frame, &tables), Verdict::ReplyLimited);
            assert_eq!(frame.bytes(), bytes);
        }
    }
    assert_eq!(tables.backend_counters[1].get(), Counters::default());
}
