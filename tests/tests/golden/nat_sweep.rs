//! Translated flows that are forgotten: the daemon's walk over the kernel's table, at chosen times.

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData},
};
use lb_common::{
    nat::{Ticks, Translation, Tuple, state, timeout},
    service::{TCP, UDP},
};
use lb_userspace::{
    datapath::{nat_sweep::NatSweep, translations::Translations},
    objects,
};

const HZ: u32 = 250;
/// When flows are seen last, so that the clock wraps within the tests.
const SEEN: u16 = 65_000;
const ENTRIES: u32 = 64;
const OPEN: u32 = state::SEEN | state::CONNECTED;

/// The kernel's table with a walk over it.
struct Table {
    map: HashMap<MapData, [u64; 5], [u64; 9]>,
    translations: Translations,
    sweep: NatSweep,
}

impl Table {
    fn load() -> Self {
        let mut loader = EbpfLoader::new();
        let mut ebpf: Ebpf = loader
            .map_max_entries("TRANSLATIONS", ENTRIES)
            .load(objects::BALANCER)
            .expect("the kernel takes the object");
        let sweep = NatSweep::new(Translations::of(&ebpf).expect("the map is there"));
        let translations = Translations::of(&ebpf).expect("the map is there");
        let map = ebpf.take_map("TRANSLATIONS").expect("the map is there");
        Self { map: map.try_into().expect("keys and values have these sizes"), translations, sweep }
    }

    /// A flow of a client's port whose requests, and answers, were seen so.
    fn add(&mut self, flow: &Flow, [request, answer]: [(u16, u32); 2]) {
        self.add_half(&flow.request, flow.answer.reversed(), request);
        self.add_half(&flow.answer, flow.request.reversed(), answer);
    }

    fn add_half(&mut self, key: &Tuple, gets: Tuple, (seen, state): (u16, u32)) {
        let entry = Translation::new(gets, 0, 1, (1, 1)).seen_at(seen, state);
        // SAFETY: plain words without padding, of the same size.
        let [key, entry] = unsafe {
            [std::mem::transmute::<Tuple, [u64; 5]>(*key).to_vec(), {
                std::mem::transmute::<Translation, [u64; 9]>(entry).to_vec()
            }]
        };
        let key: [u64; 5] = key.try_into().expect("five words");
        let entry: [u64; 9] = entry.try_into().expect("nine words");
        self.map.insert(key, entry, 0).expect("there is room");
    }

    /// A pass so many seconds after flows were seen.
    fn pass(&mut self, seconds: u32) {
        self.sweep.pass(after(seconds)).expect("the walk succeeds");
    }

    fn has(&self, key: &Tuple) -> bool {
        self.translations.get(key).expect("a look-up").is_some()
    }

    fn entries(&self) -> usize {
        self.translations.all().expect("the walk succeeds").len()
    }
}

/// Both keys of a flow.
struct Flow {
    request: Tuple,
    answer: Tuple,
}

fn flow(protocol: u8, port: u16) -> Flow {
    /// The mark of answers, see [`Tuple`].
    const ANSWER: u32 = 1 << 16;

    let protocol = u32::from(protocol) | 4 << 8;
    let ports = u32::from(port) | 80 << 16;
    let request = Tuple { source: [1, 0], destination: [2, 0], ports, protocol };
    let ports = 8080 | u32::from(port) << 16;
    let answer = Tuple { source: [3, 0], destination: [4, 0], ports, protocol: protocol | ANSWER };
    Flow { request, answer }
}

fn after(seconds: u32) -> Ticks {
    let ticks = Ticks { now: 0, hz: HZ }.of_seconds(seconds);
    Ticks { now: SEEN.wrapping_add(ticks as u16), hz: HZ }
}

#[test]
fn flows_are_forgotten_after_their_time_and_not_before() {
    let fin = OPEN | state::FIN;
    let mut table = Table::load();
    for (protocol, states, seconds) in [
        (TCP, [OPEN, OPEN], timeout::TCP_ESTABLISHED),
        (TCP, [state::SEEN, 0], timeout::TCP_UNANSWERED),
        (TCP, [state::SEEN, state::SEEN], timeout::TCP_UNANSWERED),
        (TCP, [OPEN, state::SEEN], timeout::TCP_TRANSITORY),
        (TCP, [fin, OPEN], timeout::TCP_TRANSITORY),
        (TCP, [OPEN, fin], timeout::TCP_TRANSITORY),
        (TCP, [fin, fin], timeout::TCP_CLOSED),
        (TCP, [OPEN | state::RST, OPEN], timeout::TCP_RESET),
        (TCP, [OPEN, OPEN | state::RST], timeout::TCP_RESET),
        (UDP, [state::SEEN, 0], timeout::UDP_UNANSWERED),
        (UDP, [state::SEEN, state::SEEN], timeout::UDP_ANSWERED),
        (1, [state::SEEN, state::SEEN], timeout::ECHO),
    ] {
        table.add(&flow(protocol, 1000), states.map(|state| (SEEN, state)));
        // A tick is 1.024 s.
        for early in [0, 9, seconds / 2, seconds - 2] {
            table.pass(early);
            assert_eq!(table.entries(), 2, "{protocol} {states:?} after {early} s");
            assert_eq!(table.sweep.flows(), 1);
        }
        table.pass(seconds);
        assert_eq!(table.entries(), 0, "{protocol} {states:?} after {seconds} s");
    }
    assert_eq!(table.sweep.expired(), 12);
}

#[test]
fn a_flow_is_kept_for_as_long_as_either_side_speaks() {
    for late in [0, 1] {
        let mut table = Table::load();
        let flow = flow(UDP, 1000);
        let mut seen = [(SEEN, state::SEEN); 2];
        seen[late].0 = after(100).now;
        table.add(&flow, seen);
        table.pass(timeout::UDP_ANSWERED + 90);
        assert_eq!(table.entries(), 2);
        table.pass(timeout::UDP_ANSWERED + 102);
        assert_eq!(table.entries(), 0);
    }
}

#[test]
fn half_of_a_flow_is_forgotten_once_it_is_silent() {
    let mut table = Table::load();
    let (one, other) = (flow(TCP, 1000), flow(TCP, 2000));
    table.add_half(&one.request, one.answer.reversed(), (SEEN, OPEN));
    table.add_half(&other.answer, other.request.reversed(), (SEEN, OPEN));
    table.pass(timeout::SHORTEST - 2);
    assert_eq!(table.entries(), 2, "somebody may be adding the other halves");
    table.pass(timeout::SHORTEST);
    assert_eq!(table.entries(), 0);
}

#[test]
fn a_flow_leaves_the_next_owner_of_its_port_alone() {
    let mut table = Table::load();
    let (former, next) = (flow(TCP, 1000), flow(TCP, 2000));
    table.add_half(&former.request, former.answer.reversed(), (SEEN, OPEN));
    let next = Flow { request: next.request, answer: former.answer };
    table.add(&next, [(SEEN, OPEN); 2]);
    table.pass(100);
    assert!(!table.has(&former.request));
    assert!(table.has(&next.request) && table.has(&next.answer));
}

/// Entries are read many at once; packets go on meanwhile.
#[test]
fn a_flow_that_is_used_during_the_pass_is_left_alone() {
    let ticks = after(timeout::TCP_ESTABLISHED);
    let mut table = Table::load();
    let flow = flow(TCP, 1000);
    table.add(&flow, [(SEEN, OPEN); 2]);
    let read = table.translations.all().expect("the walk succeeds");
    table.add(&flow, [(ticks.now.wrapping_add(3), OPEN), (SEEN, OPEN)]);
    for (tuple, entry) in &read {
        table.sweep.look_at(tuple, entry, ticks).expect("the table can be read");
    }
    assert_eq!(table.entries(), 2);

    // The port's next flow has added its answers, and is about to add its requests.
    table.translations.remove(&flow.request).expect("it can be removed");
    table.add_half(&flow.answer, flow.request.reversed(), (ticks.now, 0));
    for (tuple, entry) in &read {
        table.sweep.look_at(tuple, entry, ticks).expect("the table can be read");
    }
    assert!(table.has(&flow.answer));
}

#[test]
fn a_walk_takes_in_every_flow() {
    let mut table = Table::load();
    for port in 0..ENTRIES as u16 / 2 {
        let seen = if port % 2 == 0 { SEEN } else { after(timeout::TCP_ESTABLISHED).now };
        table.add(&flow(TCP, port), [(seen, OPEN); 2]);
    }
    table.pass(timeout::TCP_ESTABLISHED);
    table.pass(timeout::TCP_ESTABLISHED);
    let half = ENTRIES as usize / 4;
    assert_eq!((table.entries(), table.sweep.flows()), (2 * half, half as u64));
    assert!(
        (0..ENTRIES as u16 / 2).all(|port| table.has(&flow(TCP, port).request) == (port % 2 == 1))
    );
}
