//! Random tables.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    net::{IpAddr, SocketAddr},
};

use fastrand::Rng;
use lb_common::{
    Address, Forward, HashKey, ServiceKey, Slot, SlotLine, balance,
    flow::{Phase, Remembered},
    hash,
    packet::Packet,
};
use lb_userspace::datapath::{
    arrays::Arrays,
    desired::{DesiredService, Route},
    tables::Tables,
};

use super::{
    clients::{random_client, random_shape},
    desired::{NAT_PORT, change, random_key, random_routes, random_service},
    once_in, one_of, tunnels,
    variants::frames_of,
};
use crate::packets::{Balancer, Shape, icmp};

/// What the tables go through before packets come.
#[derive(Debug)]
pub struct Configuration {
    pub(in crate::packets) key: HashKey,
    /// Desired one after the other, so that slots change hands.
    pub(in crate::packets) stages: Vec<Vec<DesiredService>>,
    pub(in crate::packets) routes: BTreeMap<Address, Route>,
    pub(in crate::packets) inserts_per_tick: u32,
    pub(in crate::packets) clients: Vec<SocketAddr>,
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
        Self {
            clients: random_clients(rng),
            key: HashKey::derive(&rng.u64(..).to_ne_bytes()),
            stages,
            routes: random_routes(rng),
            inserts_per_tick: one_of(rng, &[0, 5, 50_000]),
        }
    }

    /// Brings a balancer into the state that is described, from whatever it was in.
    pub fn establish(&self, balancer: &mut Balancer) -> anyhow::Result<()> {
        balancer.reset(self.key)?;
        self.fill(balancer.tables())?;
        balancer.set_inserts_per_tick(self.inserts_per_tick);
        balancer.set_replies_per_tick(self.inserts_per_tick);
        balancer.set_hz(self.hz());
        Ok(())
    }

    /// Kernel ticks in a second, for translated flows: they are over at once or never. In between,
    /// kernel and host would have to agree on the moment, of which packets leave no trace.
    pub(in crate::packets) const fn hz(&self) -> u32 {
        if self.inserts_per_tick == 5 { 0 } else { u32::MAX }
    }

    /// Takes empty tables through all stages.
    pub(in crate::packets) fn fill(&self, tables: &mut Tables) -> anyhow::Result<()> {
        for stage in &self.stages {
            let route = |_, address: &Address| self.routes.get(address).copied();
            tables.commit(stage, route).all()?;
        }
        Ok(())
    }

    /// The same with random clients.
    #[must_use]
    pub fn with_clients(self, rng: &mut Rng) -> Self {
        Self { clients: random_clients(rng), ..self }
    }

    /// Brings a balancer into this state, and into random ones that no writer would leave it in.
    pub fn apply(&self, rng: &mut Rng, balancer: &mut Balancer) -> anyhow::Result<()> {
        self.establish(balancer)?;
        tunnels::change(rng, self, balancer);
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

    /// The packets of [`Configuration::shapes`] in the many forms that packets have on the wire.
    pub fn frames(&self, rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut shapes = self.shapes(rng);
        let answers = self.answers(rng);
        let echoed = |shape: &Shape| icmp::echo_reply(shape.client.ip(), shape.vip, &shape.payload);
        let replies: Vec<_> = answers.iter().filter(|_| once_in(rng, 4)).map(echoed).collect();
        shapes.extend(answers);
        let frames = shapes.iter().flat_map(|shape| frames_of(rng, shape));
        frames.chain(replies).collect()
    }

    /// What backends of translated services answer, if one of the first ports was chosen.
    fn answers(&self, rng: &mut Rng) -> Vec<Shape> {
        let mut answers = Vec::new();
        for service in self.stages.iter().flatten().filter(|one| one.forward == Forward::Nat) {
            for member in &service.members {
                let Some(route) = self.routes.get(&member.address) else { continue };
                let port = if member.port == 0 { service.key.port() } else { member.port };
                let backend = SocketAddr::new(member.address.into(), port);
                let ours = IpAddr::from(route.source);
                let key = service.key.at(NAT_PORT + rng.u16(..3), service.key.protocol());
                let shape = random_shape(rng, backend, &key);
                answers.push(Shape { vip: SocketAddr::new(ours, key.port()), ..shape });
            }
        }
        answers.retain(|shape| shape.client.is_ipv6() == shape.vip.is_ipv6());
        answers
    }

    /// Fills the flow cache with flows of this configuration's clients: alive, outdated, and of
    /// backends that are not the slot's.
    fn remember_some(&self, rng: &mut Rng, balancer: &Balancer) {
        let arrays = balancer.arrays();
        let settings = &arrays.settings[0];
        for client in &self.clients {
            for service in &self.stages[0] {
                let packet = Packet::of_flow(service.key, client.ip().into(), client.port());
                let found = balance::locate(arrays, settings, &packet);
                let Some(position) = found.ok().filter(|_| rng.u32(..3) == 0) else {
                    continue;
                };
                let backend = one_of(rng, &[position.slot.current, position.slot.previous, 3, 999]);
                let generation =
                    arrays.backends.get(usize::from(backend)).map_or(0, |entry| entry.generation());
                balancer.remember(
                    position.flow,
                    Remembered {
                        backend,
                        generation: generation.wrapping_add(rng.u16(..10) / 9),
                        seen: balancer.now().wrapping_sub(one_of(rng, &[0, 1, 300, 30_000])),
                        phase: one_of(rng, &Phase::ALL),
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
                    "stage {number}: {} port {} protocol {}, {:?}, {:?}",
                    IpAddr::from(key.address()),
                    key.port(),
                    key.protocol(),
                    service.forward,
                    service.policy.scheduler.choice
                )?;
                for member in &service.members {
                    let address = IpAddr::from(member.address);
                    write!(f, "  {address} weight {} {:?}", member.weight, member.flows)?;
                    match self.routes.get(&member.address) {
                        Some(Route { next, .. }) => {
                            writeln!(f, ", interface {} MTU {}", next.interface, next.mtu)?;
                        }
                        None => writeln!(f, ", no route")?,
                    }
                }
            }
        }
        write!(f, "inserts, and answers, a tick: {}", self.inserts_per_tick)
    }
}

fn random_clients(rng: &mut Rng) -> Vec<SocketAddr> {
    (0..12).map(|_| random_client(rng)).collect()
}

/// Rewrites a service's slots, also to what the writer never writes.
fn scramble(rng: &mut Rng, arrays: &Arrays, key: &ServiceKey) {
    let places =
        hash::places(key.hash(&arrays.settings[0].hash_key), arrays.settings[0].service_mask);
    let tables = places.map(|place| &arrays.services[place as usize]);
    let Some(service) = tables.into_iter().find(|service| service.key() == *key) else {
        return;
    };
    let table = service.table();
    for index in table.base()..table.base() + table.size() {
        let owner = |rng: &mut Rng| one_of(rng, &[0, 1, 2, 3, 4, 5, 6, 128, 129, u16::MAX]);
        let slot = Slot { current: owner(rng), previous: owner(rng) };
        arrays.slots[SlotLine::of(index) as usize].set(index, slot);
    }
}
