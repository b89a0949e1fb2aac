//! Entries to begin with: every form of packet to every kind of service.

use std::net::IpAddr;

use super::{
    super::{
        Extension, Segment, Shape, Tag, Transport, extended, fragments,
        icmp::{self, Complaint},
        quic, tagged,
    },
    Entry,
};

/// One byte less than the bits of all six backends: the first alone is a member.
const FIRST_ALONE: u8 = 0b11_1110;

/// The tables of the seeds: for each of two addresses a TCP and a UDP service at port 80, in a
/// tunnel of either sort or on the same link, to an IPv4 or an IPv6 backend, to none or to many.
const KINDS: [(u8, u8); 7] = [
    (0, FIRST_ALONE),
    (0, FIRST_ALONE | 0x80),
    (2, FIRST_ALONE),
    (4, FIRST_ALONE),
    (4, FIRST_ALONE | 0x80),
    (0, 0xff),
    (0, 0),
];

/// The seeds.
#[must_use]
pub fn seeds() -> Vec<Entry> {
    let pairs = [
        ("198.51.100.7:40000", "10.200.0.1:80", "203.0.113.1"),
        ("[2001:db8::7]:40000", "[fd00:200::1]:80", "2001:db8:ffff::1"),
    ];
    let mut seeds = Vec::new();
    for (forward, absent) in KINDS {
        // TCP and UDP over both families, where slots have changed hands if there is a choice.
        let loses = u8::from(absent == 0);
        let service = |vip: u8, udp: u8| [vip, 0, udp | forward, absent, loses, 0, 0, 0];
        let services = [service(0, 0), service(0, 1), service(3, 0), service(3, 1)];
        let tables = [&[0; 8][..], services.as_flattened()].concat();
        for (client, vip, router) in pairs {
            let router: IpAddr = router.parse().expect("router address");
            for frames in forms(client, vip, router) {
                seeds.push(Entry { tables: tables.clone(), raw_frames: frames });
            }
        }
    }
    seeds
}

/// The forms of a packet, each a few frames that belong together.
fn forms(client: &str, vip: &str, router: IpAddr) -> Vec<Vec<Vec<u8>>> {
    let syn = Shape::tcp(client, vip, Segment::Syn);
    let ack = Shape::tcp(client, vip, Segment::Ack);
    let udp = Shape::udp(client, vip);
    let large = Shape { payload: vec![1; 1460], ..udp.clone() };
    let unsummed = Shape::new(client, vip, Transport::UdpWithoutChecksum);
    let connection = [0x40, 1, 2, 3, 4, 5, 6, 7];
    let quic = [quic::long(&connection, &[7; 8]), quic::short(&connection)];
    let quic = quic.map(|payload| Shape { payload, ..udp.clone() }.frame()).to_vec();
    let tags = [Tag::service(100), Tag::customer(7), Tag::customer(8)];
    let mut forms = vec![
        vec![syn.frame(), ack.frame(), Shape::tcp(client, vip, Segment::Fin).frame()],
        vec![udp.frame(), unsummed.frame()],
        vec![large.frame()],
        (0..=3).map(|count| tagged(&syn.frame(), &tags[3 - count..])).collect(),
        fragments(&udp.frame(), 16, 1),
        fragments(&ack.frame(), 24, 2).into_iter().rev().collect(),
        vec![icmp::echo_request(syn.client, syn.vip.ip(), &[1; 56])],
        quic,
    ];
    for shape in [&ack, &udp] {
        let complaints = [Complaint::Unreachable, Complaint::TooBig(1280), Complaint::TimeExceeded];
        let errors = [8, 64].into_iter().flat_map(|quoted| {
            complaints.map(|complaint| icmp::error(router, shape, complaint, quoted))
        });
        forms.push(errors.collect());
    }
    if router.is_ipv6() {
        let chains: [&[Extension]; 5] = [
            &[Extension::HopByHop(1)],
            &[Extension::Destination(2), Extension::Routing(0)],
            &[Extension::AtomicFragment],
            &[Extension::Authentication, Extension::Destination(1)],
            &[Extension::HopByHop(1); 9],
        ];
        forms.push(chains.iter().map(|chain| extended(&ack.frame(), chain)).collect());
    } else {
        let options = |length| Shape { options: vec![1; length], ..ack.clone() }.frame();
        forms.push([4, 40].map(options).to_vec());
    }
    forms
}
