//! The network of a scenario: client, router, balancers, and backends with their servers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    balancer::{Balancer, Place, Version},
    config::{self, PORT, Revision},
    echo::Echo,
    scenario::{self, Backend, Scenario, Settings},
    traffic::Demand,
};
use crate::{
    address::{self, Family},
    error::RigError,
    host::Host,
    topology::{Plan, Topology},
};

/// How many addresses the client has for flows, per family.
const SOURCES: u8 = 8;
/// Where floods pretend to come from: packets back to there end at the router.
pub(super) const SPOOFED: &str = "198.18.0.0/15";

/// Everything that a scenario needs, running.
///
/// Fields are dropped in this order: programs before the hosts that they run in.
pub(super) struct Network {
    servers: BTreeMap<Backend, Echo>,
    balancers: BTreeMap<scenario::Balancer, Balancer>,
    second: Option<Host>,
    topology: Topology,
    pub(super) settings: Settings,
    pub(super) revision: Revision,
}

impl Network {
    /// Builds the network, and waits until all backends are up at all balancers.
    pub(super) fn new(scenario: &Scenario) -> Result<Self, RigError> {
        let plan = Plan { backends: scenario.last_backend(), services: 1 };
        let topology = Topology::new(plan)?;
        let is_double = scenario.settings.balancers > 1;
        let second = is_double.then(|| topology.add_balancer()).transpose()?;
        let mut balancers = BTreeMap::from([(scenario::Balancer::First, Balancer::default())]);
        if is_double {
            balancers.insert(scenario::Balancer::Second, Balancer::default());
        }
        let mut network = Self {
            servers: BTreeMap::new(),
            balancers,
            second,
            topology,
            settings: scenario.settings.clone(),
            revision: Revision::default(),
        };
        network.set_up_client()?;
        network.set_up_router()?;
        for number in 1..=plan.backends {
            network.start_server(Backend(number))?;
        }
        network.open_tunnels()?;
        for which in network.living() {
            network.write_config(which)?;
            network.start_lbd(which)?;
            network.balancers[&which].wait_until_up(network.host(which))?;
        }
        Ok(network)
    }

    /// The flows of the scenario, between these addresses.
    pub(super) fn demand(&self) -> Demand {
        let families = self.settings.families.all();
        Demand {
            targets: families
                .iter()
                .map(|family| SocketAddr::new(address::service(*family, 1), PORT))
                .collect(),
            sources: families.iter().flat_map(|family| sources(*family)).collect(),
            tcp: self.settings.connections,
            udp: self.settings.udp,
            interval: self.settings.interval,
            silence: self.settings.silence,
            new_per_second: self.settings.new_per_second,
        }
    }

    /// Balancers that are not killed.
    pub(super) fn living(&self) -> Vec<scenario::Balancer> {
        self.balancers.keys().copied().collect()
    }

    pub(super) fn balancer(&self, which: scenario::Balancer) -> &Balancer {
        &self.balancers[&which]
    }

    pub(super) fn host(&self, which: scenario::Balancer) -> &Host {
        match which {
            scenario::Balancer::First => &self.topology.balancer,
            scenario::Balancer::Second => self.second.as_ref().expect("a scenario with two"),
        }
    }

    pub(super) const fn client(&self) -> &Host {
        &self.topology.client
    }

    pub(super) const fn router(&self) -> &Host {
        &self.topology.router
    }

    /// All backends' hosts.
    pub(super) fn backends(&self) -> &[Host] {
        &self.topology.backends
    }

    pub(super) fn server(&self, backend: Backend) -> Option<&Echo> {
        self.servers.get(&backend)
    }

    pub(super) fn start_server(&mut self, backend: Backend) -> Result<(), RigError> {
        let own = Family::ALL.map(|family| address::backend(family, backend.0));
        let services = Family::ALL.map(|family| address::service(family, 1));
        let host = self.topology.backend(backend.0);
        self.servers.insert(backend, Echo::start(host, PORT, &own, &services)?);
        Ok(())
    }

    /// Kills the server as a crash would.
    pub(super) fn kill_server(&mut self, backend: Backend) {
        self.servers.remove(&backend);
    }

    pub(super) fn write_config(&self, which: scenario::Balancer) -> Result<(), RigError> {
        let text = config::text(&self.settings, &self.revision);
        Balancer::write_config(self.host(which), &text)
    }

    pub(super) fn start_lbd(&mut self, which: scenario::Balancer) -> Result<(), RigError> {
        let Self { balancers, second, topology, .. } = self;
        let host = match which {
            scenario::Balancer::First => &topology.balancer,
            scenario::Balancer::Second => second.as_ref().expect("a scenario with two"),
        };
        balancers.get_mut(&which).expect("a living balancer").start(host)
    }

    pub(super) fn kill_lbd(&mut self, which: scenario::Balancer) {
        self.balancers.get_mut(&which).expect("a living balancer").kill();
    }

    pub(super) fn stop_lbd(&mut self, which: scenario::Balancer) -> Result<(), RigError> {
        self.balancers.get_mut(&which).expect("a living balancer").stop()
    }

    /// Installs a version of lbd, which the next start takes.
    pub(super) fn install(&mut self, which: scenario::Balancer, version: Version) {
        self.balancers.get_mut(&which).expect("a living balancer").install(version);
    }

    /// Takes a machine away: its cable is cut, and the router sends nothing there.
    pub(super) fn kill_balancer(&mut self, which: scenario::Balancer) -> Result<(), RigError> {
        let mut gone = self.balancers.remove(&which).expect("a living balancer");
        self.topology.router.ip(&format!("link set {} down", place(which).port))?;
        gone.kill();
        self.route()
    }

    /// What all lbds said last.
    pub(super) fn logs(&self) -> String {
        let log = |(which, balancer): (_, &Balancer)| format!("{which}:\n{}", balancer.log());
        self.balancers.iter().map(log).collect()
    }

    fn set_up_client(&self) -> Result<(), RigError> {
        self.client().sysctl("ipv4/ip_local_port_range", "10000 65535")?;
        for family in Family::ALL {
            for address in sources(family) {
                let flags = if family == Family::V6 { "nodad" } else { "" };
                let prefix = family.prefix();
                self.client().ip(&format!("address add {address}/{prefix} dev eth0 {flags}"))?;
            }
        }
        Ok(())
    }

    fn set_up_router(&self) -> Result<(), RigError> {
        let router = self.router();
        // By ports too, as routers before load balancers do.
        router.sysctl("ipv4/fib_multipath_hash_policy", "1")?;
        router.sysctl("ipv6/fib_multipath_hash_policy", "1")?;
        router.ip(&format!("route add blackhole {SPOOFED}"))?;
        self.route()
    }

    /// Spreads flows to services over all balancers that live.
    fn route(&self) -> Result<(), RigError> {
        for family in Family::ALL {
            let hops: Vec<_> =
                self.living().into_iter().map(|which| place(which).address).collect();
            let line = match hops[..] {
                [only] => format!(" via {}", only(family)),
                _ => hops.iter().map(|hop| format!(" nexthop via {}", hop(family))).collect(),
            };
            self.router().ip(&format!("route replace {}{line}", address::services(family)))?;
        }
        Ok(())
    }

    fn open_tunnels(&self) -> Result<(), RigError> {
        if !matches!(self.settings.forward.as_str(), "ipip" | "gue") {
            return Ok(());
        }
        let hops = self.living().into_iter().map(|which| place(which).address);
        let from: Vec<_> =
            hops.flat_map(|hop| Family::ALL.map(hop)).map(|address| address.to_string()).collect();
        let mut words = vec!["decap", "attach", "eth0"];
        from.iter().for_each(|address| words.extend(["--from", address]));
        if self.settings.second_chance {
            words.push("--second-chance");
        }
        self.backends().iter().try_for_each(|host| {
            if self.settings.second_chance {
                // They route what they give on.
                host.sysctl("ipv4/conf/eth0/forwarding", "1")?;
                host.sysctl("ipv6/conf/all/forwarding", "1")?;
            }
            Balancer::ask(host, &words).map(drop)
        })
    }
}

const fn place(which: scenario::Balancer) -> Place {
    match which {
        scenario::Balancer::First => Place { port: "balancer", address: address::balancer },
        scenario::Balancer::Second => {
            Place { port: "balancer2", address: address::second_balancer }
        }
    }
}

/// The client's addresses for flows, in its own network.
fn sources(family: Family) -> impl Iterator<Item = IpAddr> {
    (0..SOURCES).map(move |number| match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, 100 + number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x64, number.into()).into(),
    })
}
