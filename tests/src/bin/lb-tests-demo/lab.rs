//! Everything that runs in the demo: the network, the servers, lbd, and the clients.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use lb_tests::{
    Daemon, Lbctl, Load, Plan, RigError, Server, Topology,
    address::{self, Family},
    lbctl::BackendRow,
    program,
    report::Interval,
};

use crate::forward::Forward;

/// The backends of the configuration, and one that joins later.
pub(crate) const BACKENDS: u8 = 5;
/// The one that joins later.
pub(crate) const NEWCOMER: u8 = 5;
const PORT: u16 = 80;
/// Enough for shares that can be seen within seconds, little enough for two slow cores.
const REQUESTS_PER_SECOND: u32 = 200;
const DATAGRAMS_PER_SECOND: u32 = 200;

/// The running parts. They end when this is dropped: first clients, last the network.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) web: Vec<Traffic>,
    pub(crate) echo: Vec<Traffic>,
    pub(crate) lbd: Option<Daemon>,
    pub(crate) servers: BTreeMap<u8, Server>,
    pub(crate) forward: Forward,
    pub(crate) topology: Topology,
}

/// A service and the load on it.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) family: Family,
    /// The service's name in the configuration.
    pub(crate) service: &'static str,
    pub(crate) load: Load,
}

impl Lab {
    /// The network with a server in each backend of the configuration. No balancer yet.
    pub(crate) fn new(forward: Forward) -> Result<Self, RigError> {
        let mut lab = Self {
            web: Vec::new(),
            echo: Vec::new(),
            lbd: None,
            servers: BTreeMap::new(),
            forward,
            topology: Topology::new(Plan { backends: BACKENDS, services: 1 })?,
        };
        (1..NEWCOMER).try_for_each(|number| lab.start_server(number))?;
        Ok(lab)
    }

    pub(crate) fn start_server(&mut self, number: u8) -> Result<(), RigError> {
        let server = self.topology.start_server(number, PORT)?;
        self.servers.insert(number, server);
        Ok(())
    }

    /// Makes a backend take packets out of the tunnel, if there is one.
    pub(crate) fn prepare_backend(&self, number: u8) -> Result<(), RigError> {
        if self.forward == Forward::L2 {
            return Ok(());
        }
        let sources =
            Family::ALL.map(|family| format!("{}/{}", address::balancer(family), family.bits()));
        let [v4, v6] = &sources;
        Lbctl::new(self.topology.backend(number))?
            .run(&["decap", "attach", "eth0", "--from", v4, "--from", v6])
            .map(drop)
    }

    pub(crate) fn start_lbd(&mut self) -> Result<(), RigError> {
        let mut command = self.topology.balancer.command(program("lbd")?);
        command.arg("--config").arg(self.forward.config());
        self.lbd = Some(Daemon::start("lbd", command)?);
        Ok(())
    }

    pub(crate) fn start_clients(&mut self) -> Result<(), RigError> {
        let client = &self.topology.client;
        for (family, service) in [(Family::V4, "web-v4"), (Family::V6, "web-v6")] {
            let load = Load::http(client, service_address(family), REQUESTS_PER_SECOND)?;
            self.web.push(Traffic { family, service, load });
        }
        for (family, service) in [(Family::V4, "echo-v4"), (Family::V6, "echo-v6")] {
            let load = Load::udp(client, service_address(family), DATAGRAMS_PER_SECOND)?;
            self.echo.push(Traffic { family, service, load });
        }
        Ok(())
    }

    pub(crate) fn lbctl(&self) -> Result<Lbctl<'_>, RigError> {
        Lbctl::new(&self.topology.balancer)
    }

    /// The rows of `lbctl backend list`.
    pub(crate) fn backends(&self) -> Result<Vec<BackendRow>, RigError> {
        self.lbctl()?.backends()
    }

    /// Whether all rows that `wanted` picks are in `state`, and packets know: up are those that
    /// have slots, and only those. The error tells which are not.
    pub(crate) fn all_are(
        &self,
        state: &str,
        wanted: impl Fn(&BackendRow) -> bool,
    ) -> Result<(), String> {
        let rows = self.backends().map_err(|error| error.to_string())?;
        let mut wanted = rows.iter().filter(|row| wanted(row)).peekable();
        if wanted.peek().is_none() {
            return Err("no such backend is listed".into());
        }
        let has_slots = state == "up";
        let others: Vec<_> = wanted
            .filter(|row| row.state != state || (row.slots_share > 0.0) != has_slots)
            .map(|row| {
                let BackendRow { service, address, state, reason, slots_share, .. } = row;
                format!("{service}/{address} is {state} ({reason}), slots {slots_share}")
            })
            .collect();
        if others.is_empty() { Ok(()) } else { Err(others.join("; ")) }
    }

    /// What is pinned in the balancer's host.
    pub(crate) fn pins(&self) -> Vec<String> {
        pins_below(&self.topology.balancer.path("/sys/fs/bpf"))
    }

    /// What happened to the HTTP requests since `mark`, per family.
    pub(crate) fn web_since(&self, mark: u64) -> Result<Vec<Interval>, RigError> {
        self.web.iter().map(|traffic| traffic.load.since(mark)).collect()
    }
}

/// All files below a folder of a bpffs, without the two that the kernel puts into each.
fn pins_below(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { pins_below(&path) } else { vec![path.display().to_string()] }
        })
        .filter(|path| !path.ends_with("/maps.debug") && !path.ends_with("/progs.debug"))
        .collect()
}

/// Where clients find the service of this family.
pub(crate) fn service_address(family: Family) -> SocketAddr {
    SocketAddr::new(address::service(family, 1), PORT)
}

/// The number of the backend with this address.
pub(crate) fn number_of(address: IpAddr) -> Option<u8> {
    (1..=BACKENDS).find(|number| {
        Family::ALL.into_iter().any(|family| address::backend(family, *number) == address)
    })
}
