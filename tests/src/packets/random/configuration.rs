//! Random tables.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    net::{IpAddr, SocketAddr},
};

use fastrand::Rng;
use lb_common::{
    Address, Forward, HashKey, Link, NextHop, ServiceKey, Slot, SlotLine, balance,
    flow::Remembered, packet::Packet, service,
};
use lb_userspace::datapath::{
    arrays::Arrays,
    desired::{DesiredMember, DesiredService, Flows, Route},
};

use super::{once_in, one_of};
use crate::packets::{Balancer, INGRESS, Segment, Shape, Transport};

/// Two services, or a service and none, often differ in one byte.
const VIPS: [&str; 6] = [
    "10.200.0.1",
    "10.200.0.2",
    "10.200.1.1",
    "fd00:200::1",
    "fd00:200::2",
    "fd00:200:1::1",
];
const CLIENTS: [&str; 6] = [
    "198.51.100.7",
    "198.51.100.8",
    "203.0.113.255",
    "2001:db8::7",
    "2001:db8::8",
    "2001:db8:ffff::7",
];
const PORTS: [u16; 6] = [0, 53, 80, 443, 0x5000, 65_535];
const BACKENDS: u16 = 6;

/// What the tables go through before packets come.
#[derive(Debug)]
pub struct Configuration {
    key: HashKey,
    /// Desired one after the other, so that slots change hands.
    stages: Vec<Vec<DesiredService>>,
    routes: BTreeMap<Address, Route>,
    inserts_per_tick: u32,
    clients: Vec<SocketAddr>,
}

impl Configuration {
    /// A few services with a few backends each.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let services: BTreeMap<ServiceKey, DesiredService> = (0..rng.u32(1..=6))
            .map(|_| random_service(rng))
            .map(|service| (service.key, service))
            .collect();
        let mut stages = vec![services.into_values().collect::<Vec<_>>()];
        for _ in 0..rng.u32(..3) {
            let mut stage = stages[stages.len() - 1].clone();
            stage.iter_mut().for_each(|service| change(rng, service));
            if once_in(rng, 4) && stage.len() > 1 {
                stage.remove(0);
            }
            stages.push(stage);
        }
        let backends =
            (0..BACKENDS).flat_map(|number| [false, true].map(|six| backend(number, six)));
        let routes = backends
            .filter_map(|address| {
                let is_known = !once_in(rng, 8);
                is_known.then(|| (address, random_route(rng, &address)))
            })
            .collect();
        Self {
            clients: (0..12).map(|_| random_client(rng)).collect(),
            key: HashKey::derive(&rng.u64(..).to_ne_bytes()),
            stages,
            routes,
            inserts_per_tick: one_of(rng, &[0, 5, 50_000]),
        }
    }

    /// Brings a balancer into this state, from whatever it was in.
    pub fn apply(&self, rng: &mut Rng, balancer: &mut Balancer) -> anyhow::Result<()> {
        balancer.reset(self.key)?;
        for stage in &self.stages {
            let route = |address: &Address| self.routes.get(address).copied();
            balancer.tables().commit(stage, route)?;
        }
        balancer.set_inserts_per_tick(self.inserts_per_tick);
        for service in &self.stages[self.stages.len() - 1] {
            if once_in(rng, 4) {
                scramble(rng, balancer.arrays(), &service.key);
            }
        }
        self.remember_some(rng, balancer);
        Ok(())
    }

    /// A packet from each client to each service of its family, of a random protocol and kind;
    /// some to where no service is.
    pub fn shapes(&self, rng: &mut Rng) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for client in &self.clients {
            let keys = self.stages[0].iter().map(|service| service.key);
            let stray = random_key(rng);
            for key in keys.chain([stray]) {
                if key.address().is_ipv6() == client.is_ipv6() {
                    shapes.push(random_shape(rng, *client, &key));
                }
            }
        }
        shapes
    }

    /// Fills the flow cache with flows of this configuration's clients: alive, outdated, and of
    /// backends that are not the slot's.
    fn remember_some(&self, rng: &mut Rng, balancer: &Balancer) {
        let arrays = balancer.arrays();
        let settings = &arrays.settings[0];
        for client in &self.clients {
            for service in &self.stages[0] {
                let packet = Packet::of_flow(service.key, client.ip().into(), client.port());
                let found = balance::locate(arrays, settings, &packet, || true);
                let Some(position) = found.ok().filter(|_| rng.u32(..3) == 0) else {
                    continue;
                };
                let backend = one_of(
                    rng,
                    &[position.slot.current, position.slot.previous, 3, 999],
                );
                let generation = arrays
                    .backends
                    .get(usize::from(backend))
                    .map_or(0, |entry| entry.generation());
                balancer.remember(
                    position.flow,
                    Remembered {
                        backend,
                        generation: generation.wrapping_add(rng.u16(..10) / 9),
                        seen: balancer
                            .now()
                            .wrapping_sub(one_of(rng, &[0, 1, 300, 30_000])),
                    },
                );
            }
        }
    }
}

/// One line for each service.
impl Display for Configuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, stage) in self.stages.iter().enumerate() {
            for service in stage {
                let key = &service.key;
                writeln!(
                    f,
                    "stage {number}: {} port {} protocol {}, {:?}",
                    IpAddr::from(key.address()),
                    key.port(),
                    key.protocol(),
                    service.forward
                )?;
                for member in &service.members {
                    let (address, route) = (member.address, self.routes.get(&member.address));
                    writeln!(
                        f,
                        "  {} weight {} {:?} {:?}",
                        IpAddr::from(address),
                        member.weight,
                        member.flows,
                        route.map(|route| route.next)
                    )?;
                }
            }
        }
        write!(f, "inserts a tick: {}", self.inserts_per_tick)
    }
}

fn random_client(rng: &mut Rng) -> SocketAddr {
    let address: IpAddr = one_of(rng, &CLIENTS).parse().expect("client address");
    SocketAddr::new(address, one_of(rng, &[1, 1024, 40_000, 65_535]))
}

fn random_key(rng: &mut Rng) -> ServiceKey {
    let address: IpAddr = one_of(rng, &VIPS).parse().expect("service address");
    let protocol = one_of(rng, &[service::TCP, service::TCP, service::UDP]);
    ServiceKey::new(address.into(), one_of(rng, &PORTS), protocol)
}

fn random_service(rng: &mut Rng) -> DesiredService {
    let ipv6 = rng.bool();
    let members: Vec<u16> = (0..BACKENDS).filter(|_| rng.bool()).collect();
    DesiredService {
        key: random_key(rng),
        forward: one_of(rng, &[Forward::L2, Forward::Ipip, Forward::Ipip]),
        members: members
            .into_iter()
            .map(|number| DesiredMember {
                address: backend(number, ipv6),
                base_weight: 100,
                weight: 100,
                flows: Flows::Stay,
            })
            .collect(),
    }
}

/// Some members lose or regain their slots, and one may go for good.
fn change(rng: &mut Rng, service: &mut DesiredService) {
    for member in &mut service.members {
        member.weight = one_of(rng, &[0, 50, 100, 100]);
        member.flows = one_of(rng, &[Flows::Stay, Flows::Drain, Flows::Leave]);
    }
    if once_in(rng, 5) {
        service.members.pop();
    }
}

fn backend(number: u16, ipv6: bool) -> Address {
    let address: IpAddr = if ipv6 {
        [0xfd00, 1, 0, 0, 0, 0, 0, number].into()
    } else {
        [10, 1, 0, number as u8].into()
    };
    address.into()
}

fn random_route(rng: &mut Rng, to: &Address) -> Route {
    let source: IpAddr = if to.is_ipv6() {
        rng.u128(..).to_be_bytes().into()
    } else {
        rng.u32(..).to_be_bytes().into()
    };
    Route {
        source: source.into(),
        next: random_next_hop(rng),
    }
}

/// The way to a backend, often the one that the packets came by.
pub(super) fn random_next_hop(rng: &mut Rng) -> NextHop {
    const I: u32 = INGRESS;

    let mut link = Link::default();
    rng.fill(&mut link.destination);
    rng.fill(&mut link.source);
    NextHop {
        interface: one_of(rng, &[I, I, I, I, I, I, 2, 2, u32::MAX, 0]),
        mtu: one_of(
            rng,
            &[1500, 1500, 1500, 1500, 3500, 65_535, 1280, 100, 60, 0],
        ),
        link,
    }
}

fn random_shape(rng: &mut Rng, client: SocketAddr, key: &ServiceKey) -> Shape {
    let port = match key.port() {
        0 => one_of(rng, &PORTS),
        port => port,
    };
    let vip = SocketAddr::new(key.address().into(), port);
    let segments = [
        Segment::Syn,
        Segment::Syn,
        Segment::SynAck,
        Segment::Ack,
        Segment::Ack,
    ];
    let transport = match key.protocol() {
        service::TCP => Transport::Tcp(one_of(rng, &segments)),
        _ => one_of(rng, &[Transport::Udp, Transport::UdpWithoutChecksum]),
    };
    let mut shape = Shape::new(&client.to_string(), &vip.to_string(), transport);
    let any = rng.u8(..);
    shape.traffic_class = one_of(rng, &[0, 0, 0xb8, 0xff, any]);
    shape.payload = vec![0x2a; one_of(rng, &[0, 1, 26, 26, 60, 61, 1240, 1420, 1432])];
    shape.trailer = vec![0xa2; one_of(rng, &[0, 0, 0, 1, 6, 20])];
    if client.is_ipv4() && once_in(rng, 4) {
        shape.options = vec![1; rng.usize(1..=10) * 4];
    }
    shape
}

/// Rewrites a service's slots, also to what the writer never writes.
fn scramble(rng: &mut Rng, arrays: &Arrays, key: &ServiceKey) {
    let places = lb_common::hash::places(
        key.hash(&arrays.settings[0].hash_key),
        arrays.settings[0].service_mask,
    );
    let tables = places.map(|place| &arrays.services[place as usize]);
    let Some(service) = tables.into_iter().find(|service| service.key() == *key) else {
        return;
    };
    let table = service.table();
    for index in table.base()..table.base() + table.size() {
        let owner = |rng: &mut Rng| one_of(rng, &[0, 1, 2, 3, 4, 5, 6, 128, 129, u16::MAX]);
        let slot = Slot {
            current: owner(rng),
            previous: owner(rng),
        };
        arrays.slots[SlotLine::of(index) as usize].set(index, slot);
    }
}
