//! Slots that have changed hands: which backend a flow goes to, packet by packet.

use std::time::{Duration, Instant};

use lb_common::{Forward, Verdict, service};
use lb_tests::packets::{
    Balancer, SHORTEST_FRAME, Segment, Shape, Transport,
    fixture::{self, EVERY_PORT_VIPS, Kind, VIPS},
    hopped, relinked,
};
use lb_userspace::datapath::desired::{DesiredMember, DesiredService, Flows};

use crate::forwarded::{CLIENTS, at};

const PORT: u16 = 70;
/// The backends, which are known by their hardware address.
const FIRST: Kind = Kind::L2;
const SECOND: Kind = Kind::OverIpv4;
const THIRD: Kind = Kind::SmallMtuL2;

/// Services of both families, all of whose slots are in the same hands.
struct Dispute {
    balancer: Balancer,
}

impl Dispute {
    /// The first backend has handed every slot to the second.
    fn new() -> Self {
        let balancer = Balancer::load().expect("the kernel takes the program");
        let mut dispute = Self { balancer };
        dispute.hand_over(FIRST, &[]);
        dispute.hand_over(SECOND, &[]);
        dispute
    }

    /// Gives every slot to `owner`. Those who are `gone` lose the flows that they have.
    fn hand_over(&mut self, owner: Kind, gone: &[Kind]) {
        let member = |kind: Kind| DesiredMember {
            flows: if gone.contains(&kind) { Flows::Leave } else { Flows::Stay },
            ..fixture::member(kind.backend(), if kind == owner { 100 } else { 0 })
        };
        let desired: Vec<DesiredService> = Self::keys()
            .map(|key| {
                let members = [FIRST, SECOND, THIRD].map(member).to_vec();
                DesiredService::plain(key, Forward::L2, members)
            })
            .collect();
        let tables = self.balancer.tables();
        tables.commit(&desired, fixture::route).all().expect("there is room");
    }

    /// Ends the dispute wherever no remembered flow would lose its backend.
    fn settle(&mut self) {
        const IDLE_TICKS: u16 = 100;

        for key in Self::keys() {
            let tables = self.balancer.tables();
            let flows = tables.arrays().flows.iter().flat_map(lb_common::FlowSet::iter);
            let now = flows.map(|(_, flow)| flow.seen).last().unwrap_or_default();
            tables.settle(&key, now, IDLE_TICKS);
        }
    }

    fn keys() -> impl Iterator<Item = lb_common::ServiceKey> {
        let exact = VIPS.into_iter().flat_map(|vip| {
            [service::TCP, service::UDP].map(|protocol| fixture::key(vip, PORT, protocol))
        });
        exact.chain(EVERY_PORT_VIPS.map(|vip| fixture::key(vip, 0, service::TCP)))
    }

    /// The backend that a packet reaches.
    fn backend_of(&mut self, shape: &Shape) -> Kind {
        let frame = shape.frame();
        let outcome = self.balancer.agree(&frame);
        assert_eq!(outcome.verdict, Verdict::Transmitted, "{shape:?}");
        let reaches = |kind: &Kind| {
            outcome.bytes == relinked(&hopped(&frame), &kind.route().expect("a way").next.link)
        };
        let kind = [FIRST, SECOND, THIRD].into_iter().find(reaches);
        kind.expect("a known backend")
    }
}

/// A segment of a flow, which family and client port tell.
fn tcp(family: usize, client_port: u16, segment: Segment) -> Shape {
    let mut shape = Shape::tcp(CLIENTS[family], &at(VIPS[family], PORT), segment);
    shape.client.set_port(client_port);
    shape
}

#[test]
fn a_new_flow_goes_to_the_current_backend_and_stays() {
    let mut dispute = Dispute::new();
    for family in [0, 1] {
        for segment in [Segment::Syn, Segment::Ack, Segment::Syn, Segment::Fin, Segment::Reset] {
            assert_eq!(dispute.backend_of(&tcp(family, 1, segment)), SECOND);
        }
    }
    assert_eq!(dispute.balancer.remembered().len(), 2);
    dispute.balancer.compare().expect("the same tables");
}

#[test]
fn a_flow_from_before_the_change_goes_to_the_previous_backend_and_stays() {
    let mut dispute = Dispute::new();
    for family in [0, 1] {
        for segment in [Segment::Ack, Segment::SynAck, Segment::Reset, Segment::Fin] {
            assert_eq!(dispute.backend_of(&tcp(family, 2, segment)), FIRST);
        }
    }
    assert_eq!(dispute.balancer.remembered().len(), 2);
    dispute.balancer.compare().expect("the same tables");
}

#[test]
fn a_second_change_moves_nobody() {
    let mut dispute = Dispute::new();
    for family in [0, 1] {
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Syn)), SECOND);
        assert_eq!(dispute.backend_of(&tcp(family, 2, Segment::Ack)), FIRST);
    }
    dispute.hand_over(THIRD, &[]);
    for family in [0, 1] {
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Ack)), SECOND);
        assert_eq!(dispute.backend_of(&tcp(family, 2, Segment::Ack)), FIRST);
        // Silent since before the first change.
        assert_eq!(dispute.backend_of(&tcp(family, 3, Segment::Ack)), FIRST);
        assert_eq!(dispute.backend_of(&tcp(family, 4, Segment::Syn)), THIRD);
    }
}

#[test]
fn the_first_owner_comes_back_and_keeps_flows_apart() {
    let mut dispute = Dispute::new();
    assert_eq!(dispute.backend_of(&tcp(0, 1, Segment::Syn)), SECOND);
    dispute.hand_over(FIRST, &[]);
    assert_eq!(dispute.backend_of(&tcp(0, 1, Segment::Ack)), SECOND);
    assert_eq!(dispute.backend_of(&tcp(0, 2, Segment::Ack)), FIRST);
    assert_eq!(dispute.backend_of(&tcp(0, 3, Segment::Syn)), FIRST);
}

#[test]
fn a_backend_that_leaves_loses_its_flows() {
    let mut dispute = Dispute::new();
    for family in [0, 1] {
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Syn)), SECOND);
        assert_eq!(dispute.backend_of(&tcp(family, 2, Segment::Ack)), FIRST);
    }
    dispute.hand_over(THIRD, &[SECOND]);
    for family in [0, 1] {
        assert_ne!(dispute.backend_of(&tcp(family, 1, Segment::Ack)), SECOND);
        assert_eq!(dispute.backend_of(&tcp(family, 2, Segment::Ack)), FIRST);
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Syn)), THIRD);
    }
    dispute.balancer.compare().expect("the same tables");
}

#[test]
fn without_budget_new_flows_go_where_their_next_packets_will() {
    let mut dispute = Dispute::new();
    for family in [0, 1] {
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Syn)), SECOND);
    }
    dispute.balancer.set_inserts_per_tick(0);
    for family in [0, 1] {
        // Remembered before the budget was spent, so a repeated SYN stays there.
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Syn)), SECOND);
        assert_eq!(dispute.backend_of(&tcp(family, 1, Segment::Ack)), SECOND);
        for segment in [Segment::Syn, Segment::Ack, Segment::Fin] {
            assert_eq!(dispute.backend_of(&tcp(family, 2, segment)), FIRST);
        }
    }
    assert_eq!(dispute.balancer.remembered().len(), 2);
    dispute.balancer.compare().expect("the same tables");
}

#[test]
fn udp_follows_the_table_and_is_not_remembered() {
    let mut dispute = Dispute::new();
    for (client, vip) in CLIENTS.into_iter().zip(VIPS) {
        for transport in [Transport::Udp, Transport::UdpWithoutChecksum] {
            let shape = Shape::new(client, &at(vip, PORT), transport);
            assert_eq!(dispute.backend_of(&shape), SECOND);
        }
    }
    assert_eq!(dispute.balancer.remembered(), []);
}

#[test]
fn after_the_dispute_the_table_alone_decides() {
    let mut dispute = Dispute::new();
    assert_eq!(dispute.backend_of(&tcp(0, 1, Segment::Syn)), SECOND);
    dispute.settle();
    for port in [1, 2, 3] {
        assert_eq!(dispute.backend_of(&tcp(0, port, Segment::Ack)), SECOND);
    }
    assert_eq!(dispute.balancer.remembered().len(), 1);
}

#[test]
fn the_slot_of_a_living_old_flow_stays_disputed() {
    let mut dispute = Dispute::new();
    assert_eq!(dispute.backend_of(&tcp(0, 2, Segment::Ack)), FIRST);
    dispute.settle();
    assert_eq!(dispute.backend_of(&tcp(0, 2, Segment::Ack)), FIRST);
    assert_eq!(dispute.backend_of(&tcp(0, 3, Segment::Ack)), SECOND);
}

/// One client port, two ports of a service that has every port: the flows are not one.
#[test]
fn flows_to_two_ports_of_one_service_are_two_flows() {
    let mut dispute = Dispute::new();
    for (client, vip) in CLIENTS.into_iter().zip(EVERY_PORT_VIPS) {
        let mut to = |port, segment| {
            let shape = Shape::tcp(client, &at(vip, port), segment);
            dispute.backend_of(&shape)
        };
        assert_eq!(to(80, Segment::Ack), FIRST);
        assert_eq!(to(443, Segment::Syn), SECOND);
        assert_eq!(to(80, Segment::Ack), FIRST);
        assert_eq!(to(443, Segment::Ack), SECOND);
    }
}

/// A tick is 256 of the kernel's jiffies: 0.26 s to 2.56 s, as the kernel was built.
#[test]
fn remembered_flows_carry_the_time_of_their_last_packet() {
    let mut dispute = Dispute::new();
    let mut seen = || {
        dispute.backend_of(&tcp(0, 1, Segment::Ack));
        dispute.balancer.remembered()[0].seen
    };
    let (start, first) = (Instant::now(), seen());
    let next = loop {
        match seen() {
            same if same == first => assert!(start.elapsed() < Duration::from_secs(5)),
            other => break other,
        }
    };
    assert_eq!(next, first.wrapping_add(1));
    dispute.balancer.compare().expect("the same tables");
}

#[test]
fn no_cut_or_lying_segment_is_remembered() {
    let mut dispute = Dispute::new();
    for family in [0, 1] {
        for segment in [Segment::Syn, Segment::Ack] {
            let shape = tcp(family, 1, segment);
            let frame = shape.frame();
            for length in SHORTEST_FRAME..frame.len() {
                let _ = dispute.balancer.agree(&frame[..length]);
            }
            let mut lying = frame;
            lying[shape.transport_offset() + 12] = 4 << 4;
            let outcome = dispute.balancer.agree(&lying);
            assert_eq!(outcome.verdict, Verdict::Malformed);
        }
    }
    assert_eq!(dispute.balancer.remembered(), []);
}
