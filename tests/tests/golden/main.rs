//! Golden packets: frames whose fate is written down here, not computed by the packet core.
//!
//! Kernel and host must both do exactly what is expected, byte for byte. What a frame must look
//! like behind a tunnel header is written by etherparse.

mod disputed;
mod forwarded;
mod malformed;
mod prefixes;
mod refused;
mod untouched;

use lb_common::Verdict;
use lb_tests::packets::{Balancer, Outcome, Shape, fixture::Kind, hex, relinked};

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
        let frame = shape.frame();
        let trailer = shape.trailer.len();
        let bytes = if kind.overhead() == 0 {
            relinked(&frame, &kind.route().expect("a way").next.link)
        } else {
            let label = forwarded::flow_label(shape);
            let tunnel = kind.tunnel(shape.traffic_class, label);
            tunnel.around(&frame, trailer)
        };
        let verdict = match kind {
            Kind::OtherInterface => Verdict::Redirected,
            _ => Verdict::Transmitted,
        };
        Self { name: name.into(), frame, trailer, expected: Outcome::of(verdict, bytes) }
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
