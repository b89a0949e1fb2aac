//! The network that the balancer works in: one-armed, with direct server return.
//!
//! ```text
//!  client ---- router ---- bridge ---- balancer
//!                            |------- backend 1
//!                            |------- backend 2 ...
//! ```
//!
//! The router sends what is for a service to the balancer. Backends hold the services' addresses
//! on their loopback and answer the client through the router, past the balancer.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    address::{self, Family},
    error::RigError,
    host::Host,
    link,
    server::Server,
    waiting,
};

/// What a [`Topology`] shall consist of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many backends there are.
    pub backends: u8,
    /// How many services' addresses, per family, the backends hold.
    pub services: u8,
}

impl Default for Plan {
    fn default() -> Self {
        Self { backends: 4, services: 1 }
    }
}

/// The largest packets, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Mtus {
    /// Between client and router.
    pub client: u32,
    /// Between all others.
    pub servers: u32,
}

impl Default for Mtus {
    fn default() -> Self {
        // Room for the headers of a tunnel around the largest packet of the client.
        Self { client: 1500, servers: 1600 }
    }
}

/// Hosts wired to a network; see [`address`] for who has which address.
#[derive(Debug)]
pub struct Topology {
    /// Where requests come from.
    pub client: Host,
    /// Forwards between the client's network and the one of all others.
    pub router: Host,
    /// Where `lbd` runs; its interface is `eth0`.
    pub balancer: Host,
    /// Where servers run; backend 1 is the first.
    pub backends: Vec<Host>,
    services: u8,
    mtus: Mtus,
}

impl Topology {
    /// Builds the network and waits until every host answers the client in both families.
    pub fn new(plan: Plan) -> Result<Self, RigError> {
        Self::with_mtus(plan, Mtus::default())
    }

    /// The same for packets of other sizes.
    pub fn with_mtus(plan: Plan, mtus: Mtus) -> Result<Self, RigError> {
        let topology = Self {
            client: Host::new("client")?,
            router: Host::new("router")?,
            balancer: Host::new("balancer")?,
            backends: (1..=plan.backends)
                .map(|number| Host::new(&format!("be{number}")))
                .collect::<Result<_, _>>()?,
            services: plan.services,
            mtus,
        };
        topology.hosts().try_for_each(set_parameters)?;
        topology.set_up_router()?;
        topology.attach_client()?;
        topology.attach_balancer()?;
        for (number, host) in topology.backends() {
            topology.attach_backend(number, host)?;
        }
        topology.wait_until_reachable()?;
        Ok(topology)
    }

    /// The backends with their numbers, which count from 1.
    pub fn backends(&self) -> impl Iterator<Item = (u8, &Host)> {
        (1..).zip(&self.backends)
    }

    /// Backend `number`, which counts from 1.
    #[must_use]
    pub fn backend(&self, number: u8) -> &Host {
        &self.backends[usize::from(number) - 1]
    }

    /// Starts a server on `port` of backend `number`, under its own addresses and the services'.
    pub fn start_server(&self, number: u8, port: u16) -> Result<Server, RigError> {
        let addresses = Family::ALL.into_iter().flat_map(|family| {
            let own = std::iter::once(address::backend(family, number));
            own.chain(self.service_addresses(family))
        });
        let listen = addresses.map(|address| SocketAddr::new(address, port));
        Server::start(self.backend(number), listen)
    }

    /// Sends what is for the services to `hop` instead of the balancer.
    pub fn route_services_to(&self, hop: impl Fn(Family) -> IpAddr) -> Result<(), RigError> {
        Family::ALL.into_iter().try_for_each(|family| {
            let (services, hop) = (address::services(family), hop(family));
            self.router.ip(&format!("route replace {services} via {hop}"))
        })
    }

    /// Connects the balancer with backend `number` by a cable past the bridge, `eth1` at both ends.
    /// The backend answers clients through the bridge as before.
    pub fn connect_to_balancer(&self, number: u8) -> Result<(), RigError> {
        let backend = self.backend(number);
        link::connect((&self.balancer, "eth1"), (backend, "eth1"), self.mtus.servers)?;
        link::take_xdp_frames(backend, "eth1")?;
        // An interface that goes down would else lose its IPv6 addresses.
        self.balancer.sysctl("ipv6/conf/eth1/keep_addr_on_down", "1")?;
        add_addresses(&self.balancer, "eth1", Family::prefix, address::balancer_on_cable)?;
        let far_end = |family| address::backend_on_cable(family, number);
        add_addresses(backend, "eth1", Family::prefix, far_end)
    }

    /// Makes the balancer's machine a backend too: gives it the services' addresses, and starts a
    /// server on `port`.
    pub fn start_server_on_balancer(&self, port: u16) -> Result<Server, RigError> {
        self.give_services_to(&self.balancer)?;
        let addresses = Family::ALL.into_iter().flat_map(|family| {
            std::iter::once(address::balancer(family)).chain(self.service_addresses(family))
        });
        Server::start(&self.balancer, addresses.map(|address| SocketAddr::new(address, port)))
    }

    fn service_addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> + use<> {
        (1..=self.services).map(move |number| address::service(family, number))
    }

    fn give_services_to(&self, host: &Host) -> Result<(), RigError> {
        (1..=self.services).try_for_each(|service| {
            add_addresses(host, "lo", Family::bits, |family| address::service(family, service))
        })
    }

    fn hosts(&self) -> impl Iterator<Item = &Host> {
        [&self.client, &self.router, &self.balancer].into_iter().chain(&self.backends)
    }

    fn set_up_router(&self) -> Result<(), RigError> {
        self.router.sysctl("ipv4/ip_forward", "1")?;
        self.router.sysctl("ipv6/conf/all/forwarding", "1")?;
        // Without snooping the bridge needs no time to learn who listens to neighbour discovery.
        self.router.ip(&format!(
            "link add br0 mtu {} address {BRIDGE_MAC} type bridge stp_state 0 mcast_snooping 0\n\
             link set br0 up\n",
            self.mtus.servers,
        ))?;
        add_addresses(&self.router, "br0", Family::prefix, address::gateway)?;
        self.route_services_to(address::balancer)
    }

    fn attach_client(&self) -> Result<(), RigError> {
        link::connect((&self.client, "eth0"), (&self.router, "client"), self.mtus.client)?;
        add_addresses(&self.router, "client", Family::prefix, address::client_gateway)?;
        add_addresses(&self.client, "eth0", Family::prefix, address::client)?;
        add_default_routes(&self.client, address::client_gateway)?;
        // Load generators use up ports; 28,000 are gone after some minutes.
        self.client.sysctl("ipv4/ip_local_port_range", "60000 65535")
    }

    /// Adds a machine for another lbd, of which the router knows nothing.
    pub fn add_balancer(&self) -> Result<Host, RigError> {
        let balancer = Host::new("balancer2")?;
        set_parameters(&balancer)?;
        self.attach_as_balancer(&balancer, "balancer2", address::second_balancer)?;
        Ok(balancer)
    }

    fn attach_balancer(&self) -> Result<(), RigError> {
        self.attach_as_balancer(&self.balancer, "balancer", address::balancer)
    }

    fn attach_as_balancer(
        &self,
        host: &Host,
        port: &str,
        own: fn(Family) -> IpAddr,
    ) -> Result<(), RigError> {
        self.attach_to_bridge(host, port)?;
        link::take_xdp_frames(&self.router, port)?;
        add_addresses(host, "eth0", Family::prefix, own)?;
        add_default_routes(host, address::gateway)
    }

    fn attach_backend(&self, number: u8, host: &Host) -> Result<(), RigError> {
        self.attach_to_bridge(host, host.name())?;
        add_addresses(host, "eth0", Family::prefix, |family| address::backend(family, number))?;
        add_default_routes(host, address::gateway)?;
        self.give_services_to(host)
    }

    fn attach_to_bridge(&self, host: &Host, port: &str) -> Result<(), RigError> {
        link::connect((host, "eth0"), (&self.router, port), self.mtus.servers)?;
        self.router.ip(&format!("link set {port} master br0"))
    }

    fn addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        let backends = self.backends().map(move |(number, _)| address::backend(family, number));
        std::iter::once(address::balancer(family)).chain(backends)
    }

    /// Interfaces come up a moment after they are told to, and the first packet to a neighbour
    /// has to ask for its address: what tests measure should not contain that.
    fn wait_until_reachable(&self) -> Result<(), RigError> {
        let targets: Vec<_> =
            Family::ALL.into_iter().flat_map(|family| self.addresses(family)).collect();
        self.client.enter(|| {
            targets.into_iter().try_for_each(|target| {
                waiting::until(&format!("{target} to answer"), Duration::from_secs(5), || {
                    knock(target)
                })
            })
        })
    }
}

/// Left alone, a bridge takes the lowest address of its ports, a new one with a new port; then
/// what its neighbours know is wrong.
const BRIDGE_MAC: &str = "02:00:00:00:00:fe";

/// Everything is said, nothing left to defaults: some are copied from the machine's own network.
fn set_parameters(host: &Host) -> Result<(), RigError> {
    for (key, value) in [
        ("ipv4/ip_forward", "0"),
        // The way to a service's address is not the way that its packets come from.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        // A backend must not tell the network that it has a service's address.
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv4/conf/all/arp_announce", "2"),
        // Addresses are usable at once: nobody else can have them.
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
    ] {
        host.sysctl(key, value)?;
    }
    Ok(())
}

fn add_addresses(
    host: &Host,
    interface: &str,
    prefix: impl Fn(Family) -> u8,
    address: impl Fn(Family) -> IpAddr,
) -> Result<(), RigError> {
    Family::ALL.into_iter().try_for_each(|family| {
        let (address, prefix) = (address(family), prefix(family));
        // Else the kernel takes a moment to make sure that nobody else has it.
        let flags = if family == Family::V6 { "nodad" } else { "" };
        host.ip(&format!("address add {address}/{prefix} dev {interface} {flags}"))
    })
}

fn add_default_routes(host: &Host, gateway: impl Fn(Family) -> IpAddr) -> Result<(), RigError> {
    Family::ALL
        .into_iter()
        .try_for_each(|family| host.ip(&format!("route add default via {}", gateway(family))))
}

/// A refusal is an answer.
fn knock(address: IpAddr) -> Result<(), String> {
    const NOBODY_LISTENS_HERE: u16 = 1;
    let target = SocketAddr::new(address, NOBODY_LISTENS_HERE);
    match TcpStream::connect_timeout(&target, Duration::from_millis(200)) {
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => Err(error.to_string()),
        Ok(_) | Err(_) => Ok(()),
    }
}
