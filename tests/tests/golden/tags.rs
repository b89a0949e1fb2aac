//! VLAN tags: they stay as they came, and change nothing else.

use lb_tests::packets::{
    Extension, Segment, Tag, Transport, extended,
    fixture::{self, Kind},
};

use crate::{
    Case, check,
    forwarded::{KINDS, shapes},
};

/// Priority and drop eligibility are a part of a tag.
const TAGS: [&[Tag]; 5] = [
    &[Tag::customer(5)],
    &[Tag::customer(0xe064)],
    &[Tag::service(0xffff)],
    &[Tag::service(5), Tag::customer(6)],
    &[Tag::customer(1), Tag::customer(0xb002)],
];

/// Every case of a tagged packet that is sent on.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in [Transport::Tcp(Segment::Ack), Transport::Udp] {
            for mut shape in shapes(kind, transport) {
                shape.payload = vec![0x5a; 7];
                shape.trailer = vec![0xa5; 3];
                let plain = Case::sent(format!("{kind:?} {transport:?}"), &shape, kind);
                cases.extend(TAGS.map(|tags| plain.tagged(tags)));
            }
        }
    }
    let [_, shape] = shapes(Kind::OverIpv4, Transport::Udp);
    let frame = extended(&shape.frame(), &[Extension::Destination(1)]);
    let plain = Case::sent_as("extended", frame, &shape, Kind::OverIpv4);
    cases.extend(TAGS.map(|tags| plain.tagged(tags)));
    cases
}

#[test]
fn tagged_packets_reach_the_backend_of_plain_ones_under_their_tags() {
    check(&mut fixture::balancer(), &cases());
}
