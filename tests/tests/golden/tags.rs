//! VLAN tags: they stay as they came, and change nothing else, unless the backend is in a VLAN.

use lb_common::NextHop;
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

/// The VLAN of backends that are in one.
const VLAN: u16 = 0x123;

/// Every case of a packet without tags that is sent on.
fn plain() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in [Transport::Tcp(Segment::Ack), Transport::Udp] {
            for mut shape in shapes(kind, transport) {
                shape.payload = vec![0x5a; 7];
                shape.trailer = vec![0xa5; 3];
                cases.push(Case::sent(format!("{kind:?} {transport:?}"), &shape, kind));
            }
        }
    }
    let [_, shape] = shapes(Kind::OverIpv4, Transport::Udp);
    let frame = extended(&shape.frame(), &[Extension::Destination(1)]);
    cases.push(Case::sent_as("extended", frame, &shape, Kind::OverIpv4));
    cases
}

/// Every case of a tagged packet that is sent on.
pub(crate) fn cases() -> Vec<Case> {
    plain().iter().flat_map(|plain| TAGS.map(|tags| plain.tagged(tags))).collect()
}

#[test]
fn tagged_packets_reach_the_backend_of_plain_ones_under_their_tags() {
    check(&mut fixture::balancer(), &cases());
}

/// The priority is that of the outer tag, drop eligibility with it.
#[test]
fn packets_reach_a_backend_in_a_vlan_under_its_one_tag() {
    const MORE: [&[Tag]; 3] = [
        &[],
        &[Tag::customer(0x6000 | VLAN)],
        &[Tag::customer(0xe000 | VLAN), Tag::customer(VLAN)],
    ];
    let mut balancer = fixture::balancer();
    for backend in &balancer.arrays().backends[..] {
        backend.set_next_hop(NextHop { vlan: VLAN, ..backend.next_hop() });
    }
    for plain in plain() {
        let cases: Vec<Case> = TAGS
            .into_iter()
            .chain(MORE)
            .map(|tags| {
                let priority = tags.first().map_or(0, |tag| tag.control & 0xf000);
                plain.retagged(tags, &[Tag::customer(priority | VLAN)])
            })
            .collect();
        check(&mut balancer, &cases);
    }
}
