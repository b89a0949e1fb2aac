//! GUE that is not opened.

use lb_common::DecapVerdict;
use lb_tests::packets::{Carrier, ETHERNET, GUE_PORT, Gue, Variant};

use super::{decap, expect, in_gue};

#[test]
fn datagrams_to_other_ports_pass_unchanged() {
    let mut decap = decap();
    for case in in_gue() {
        let port = ETHERNET + [20, 40][case.outer] + 2;
        for other in [0, 80, GUE_PORT ^ 1, GUE_PORT.swap_bytes()] {
            let frame =
                case.with(|frame| frame[port..port + 2].copy_from_slice(&other.to_be_bytes()));
            expect(&mut decap, &frame, DecapVerdict::NotTunnel);
        }
    }
}

#[test]
fn gue_that_is_not_understood_is_dropped() {
    let mut decap = decap();
    for case in in_gue() {
        let start = ETHERNET + [20, 40][case.outer] + 8;
        // Control messages, variants to come, and flags.
        for first in [0x20, 0x3f, 0x80, 0xc0] {
            let frame = case.with(|frame| frame[start] = first);
            expect(&mut decap, &frame, DecapVerdict::Malformed);
        }
        if matches!(&case.tunnel.carrier, Carrier::Gue(Gue { variant: Variant::Header(_), .. })) {
            for (at, value) in [(1, 59), (1, 17), (2, 0x80), (3, 1)] {
                let frame = case.with(|frame| frame[start + at] = value);
                expect(&mut decap, &frame, DecapVerdict::Malformed);
            }
        }
        for by in [-1, 1] {
            let frame =
                case.with(|frame| frame[start - 3] = frame[start - 3].wrapping_add_signed(by));
            expect(&mut decap, &frame, DecapVerdict::Malformed);
        }
    }
}
