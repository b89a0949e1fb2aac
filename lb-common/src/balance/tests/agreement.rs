//! The common way and the uncommon one are one: whatever the first decides, the second would have.

use proptest::prelude::*;

use super::*;
use crate::{forward::Forward, service::ServiceKey, uncommon, uncommon::Work};

const VIPS: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8::7"];

/// Services of both families, settled and disputed, some of whose backends have obstacles.
fn site(state: &State) -> HostTables {
    let mut tables = tables();
    let keys: Vec<ServiceKey> =
        VIPS.iter().flat_map(|vip| [key(vip, 80, TCP), key(vip, 53, UDP)]).collect();
    tables.slots = (0..8).map(|_| Default::default()).collect();
    let slot = Slot { current: state.current, previous: state.previous };
    for (id, key) in keys.into_iter().enumerate() {
        // Only half of them, since two places hold two.
        if id % 2 == state.half {
            add_service(&mut tables, key, id / 2, id as u32, slot);
        }
    }
    let forwards = [Forward::L2, Forward::Ipip, Forward::Gue];
    for (id, forward) in (1..7).zip(forwards.into_iter().cycle()) {
        let (destination, source) =
            if id < 4 { ("10.1.0.1", "10.1.255.1") } else { ("fd00:1::1", "fd00:1::ff") };
        tables.backends[id] = testing::backend(forward, destination, source).at_port(6080);
    }
    for (id, interface) in [(1, 9), (2, 0), (3, crate::backend::HERE)] {
        if state.obstacles & 1 << id != 0 {
            tables.backends[id].set_next_hop(NextHop { interface, ..next_hop() });
        }
    }
    tables.backends[4].set_next_hop(NextHop { mtu: 100, ..next_hop() });
    tables.settings.inserts_per_tick = state.budget;
    tables.settings.features = state.features;
    tables
}

#[derive(Clone, Debug)]
struct State {
    current: u16,
    previous: u16,
    half: usize,
    obstacles: u8,
    budget: u32,
    features: u32,
}

fn state() -> impl Strategy<Value = State> {
    let fields = (0..8_u16, 0..8_u16, 0..2_usize, any::<u8>(), 0..3_u32, 0..16_u32);
    fields.prop_map(|(current, previous, half, obstacles, budget, features)| State {
        current,
        previous,
        half,
        obstacles,
        budget,
        features,
    })
}

/// A packet that may be plain, with some bytes that are not.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let fields = (
        0..2_usize,
        prop::sample::select(vec![TCP, UDP]),
        prop::sample::select(vec![80_u16, 53, 81]),
        0..3_u16,
        any::<u8>(),
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec((12_usize..60, any::<u8>()), 0..2),
    );
    fields.prop_map(|(family, protocol, port, client, flags, payload, changes)| {
        let transport = match protocol {
            TCP => [&testing::tcp(client, port, flags)[..], &payload].concat(),
            _ => udp(client, port, &payload),
        };
        let mut bytes = frame(CLIENTS[family], VIPS[family], protocol, &transport);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes
    })
}

/// All that packets have changed.
fn changed(tables: &HostTables) -> impl PartialEq + std::fmt::Debug {
    let flows: Vec<_> = tables.flows.iter().flat_map(FlowSet::iter).collect();
    let counters = [&tables.service_counters, &tables.backend_counters];
    let counters = counters.map(|counters| counters.iter().map(std::cell::Cell::get).collect());
    let [services, backends]: [Vec<_>; 2] = counters;
    (flows, services, backends, tables.egress.get())
}

proptest! {
    #[test]
    fn both_ways_come_to_the_same(
        state in state(),
        packets in prop::collection::vec(packet(), 1..12),
    ) {
        let [short, long] = [site(&state), site(&state)];
        for bytes in packets {
            let (mut one, mut other) = (HostFrame::new(&bytes), HostFrame::new(&bytes));
            let Some(verdict) = common(&mut one, &short) else {
                prop_assert_eq!(one.bytes(), &bytes[..], "given up, but changed");
                // What the short way leaves, it leaves to the long one, with all that follows.
                let _ = uncommon(&mut one, &short);
                let _ = uncommon(&mut other, &long);
                prop_assert_eq!(changed(&short), changed(&long));
                continue;
            };
            prop_assert_eq!(uncommon(&mut other, &long), verdict);
            prop_assert_eq!(one.bytes(), other.bytes());
            prop_assert_eq!(changed(&short), changed(&long));
        }
    }
}

/// The property above has to meet what it is about.
#[test]
fn plain_packets_go_the_common_way_and_others_do_not() {
    let tables = serving(Slot::settled(1));
    let way = |bytes: &[u8]| common(&mut HostFrame::new(bytes), &tables);
    let plain = tcp_frame(1, ACK);
    assert_eq!(way(&plain), Some(Verdict::Transmitted));
    assert_eq!(way(&testing::with_tags(&plain, &[[0x81, 0, 0, 1]])), None);
    assert_eq!(way(&testing::with_options(&plain, &[1; 4])), None);
    assert_eq!(way(&testing::with_piece(&plain, 1, 0x2000)), None);
    assert_eq!(way(&plain[..40]), None);
    let mut last_hop = plain;
    last_hop[22] = 1;
    assert_eq!(way(&last_hop), None);
}

/// No step comes for ever, whatever the bytes are.
#[test]
fn every_way_ends() {
    let tables = serving(Slot::settled(1));
    let bytes = testing::with_options(&tcp_frame(1, ACK), &[1; 40]);
    let mut frame = HostFrame::new(&bytes);
    let mut work = Work::begin(&frame).expect("a packet");
    let (mut step, mut steps) = (work.first(), 0);
    while !matches!(step, uncommon::Step::Done(_)) {
        step = work.take(step, &mut frame, &tables);
        steps += 1;
    }
    assert!(steps > uncommon::MOST_WALKS && steps < uncommon::MOST_WALKS + 10, "{steps}");
    assert_eq!(step, uncommon::Step::Done(Verdict::Transmitted));
}
