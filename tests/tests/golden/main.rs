//! Golden packets: frames whose fate is written down here, not computed by the packet core.
//!
//! Kernel and host must both do exactly what is expected, byte for byte. What a frame must look
//! like behind a tunnel header is written by etherparse.

mod delivered;
mod disputed;
mod extended;
mod flow_state;
mod forwarded;
mod fragments;
mod hop_limits;
mod icmp;
mod malformed;
mod nat;
mod nat_sweep;
mod prefixes;
mod refused;
mod repeats;
mod services;
mod tags;
mod told;
mod untouched;

use lb_common::Verdict;
use lb_tests::packets::{
    Balancer, Carrier, ETHERNET, Outcome, Shape, Tag, fixture::Kind, hex, hopped, relinked, tagged,
};

/// A frame and what must become of it.
struct Case {
    name: String,
    frame: Vec<u8>,
    /// Bytes at the frame's end that belong to no packet.
    trailer: usize,
    expected: Outcome<Verdict>,
}

impl Case {
    /// A frame that passes or is dropped; not a byte of it changes.
    fn unchanged(name: impl Into<String>, frame: Vec<u8>, verdict: Verdict) -> Self {
        Self { name: name.into(), expected: Outcome::of(verdict, frame.clone()), frame, trailer: 0 }
    }

    /// A packet that is sent to the backend of a service of this kind.
    fn sent(name: impl Into<String>, shape: &Shape, kind: Kind) -> Self {
        Self { trailer: shape.trailer.len(), ..Self::sent_as(name, shape.frame(), shape, kind) }
    }

    /// A frame that is sent to the backend of a service of this kind as one of the flow of `shape`,
    /// which may have bytes behind its packet.
    fn sent_as(name: impl Into<String>, frame: Vec<u8>, shape: &Shape, kind: Kind) -> Self {
        let trailer = shape.trailer.len();
        let bytes = if kind.overhead() == 0 {
            relinked(&hopped(&frame), &kind.route().expect("a way").next.link)
        } else {
            let label = forwarded::flow_label(shape);
            let mut tunnel = kind.tunnel(shape.traffic_class, label);
            if let Carrier::Gue(gue) = &mut tunnel.carrier {
                gue.is_summed &= has_checksum(&frame);
            }
            tunnel.around(&hopped(&frame), trailer)
        };
        let verdict = match kind {
            Kind::OtherInterface => Verdict::Redirected,
            _ => Verdict::Transmitted,
        };
        Self { name: name.into(), frame, trailer: 0, expected: Outcome::of(verdict, bytes) }
    }

    /// The same under VLAN tags, which stay.
    fn tagged(&self, tags: &[Tag]) -> Self {
        self.retagged(tags, tags)
    }

    /// The same under VLAN tags, in the place of which others leave.
    fn retagged(&self, came: &[Tag], leave: &[Tag]) -> Self {
        let name = format!("{} under {came:?}", self.name);
        let mut expected = self.expected.clone();
        expected.bytes = tagged(&expected.bytes, leave);
        Self { name, frame: tagged(&self.frame, came), trailer: self.trailer, expected }
    }
}

/// Whether a packet has a checksum that covers its addresses, from which that of GUE follows
/// without reading all of it. Where there is none, GUE's is none either (RFC 6935).
fn has_checksum(frame: &[u8]) -> bool {
    let ip = &frame[ETHERNET..];
    let (protocol, segment) = match ip[0] {
        0x45 if ip[6] & 0x3f == 0 && ip[7] == 0 => (ip[9], &ip[20..]),
        first if first >> 4 == 6 => (ip[6], &ip[40..]),
        _ => return false,
    };
    match protocol {
        6 => true,
        17 => segment[6..8] != [0, 0],
        58 => ip[0] >> 4 == 6,
        _ => false,
    }
}

/// Sends every case through kernel and host.
fn check(balancer: &mut Balancer, cases: &[Case]) {
    for case in cases {
        let outcome = balancer.agree(&case.frame);
        assert!(
            outcome == case.expected,
            "{}\nframe    {}\noutcome  {outcome}\nexpected {}",
            case.name,
            hex(&case.frame),
            case.expected
        );
    }
    balancer.compare().expect("the same counters");
}
