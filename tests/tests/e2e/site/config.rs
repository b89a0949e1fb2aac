//! Configurations as tests write them.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use lb_tests::address::{self, Family};

/// A configuration file.
#[derive(Clone)]
pub(crate) struct Config {
    daemon: BTreeMap<&'static str, String>,
    services: Vec<Service>,
}

impl Config {
    pub(crate) fn of(services: impl IntoIterator<Item = Service>) -> Self {
        let daemon = [
            ("interfaces", "[\"eth0\"]"),
            ("xdp_mode", "\"native\""),
            ("metrics_listen", "\"127.0.0.1:9901\""),
            ("hash_seed", "\"tests have no secrets\""),
        ];
        Self {
            daemon: daemon.map(|(key, value)| (key, value.to_owned())).into(),
            services: services.into_iter().collect(),
        }
    }

    /// Sets a key of `[daemon]` to a TOML value.
    pub(crate) fn set(mut self, key: &'static str, value: &str) -> Self {
        self.daemon.insert(key, value.to_owned());
        self
    }

    /// Whether a service sends packets through tunnels.
    pub(crate) fn needs_tunnels(&self) -> bool {
        self.services.iter().any(|service| matches!(service.forward, "ipip" | "gue"))
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[daemon]")?;
        for (key, value) in &self.daemon {
            writeln!(f, "{key} = {value}")?;
        }
        self.services.iter().try_for_each(|service| write!(f, "\n{service}"))
    }
}

/// A service, by direct routing unless it is told otherwise.
#[derive(Clone)]
pub(crate) struct Service {
    name: String,
    vip: SocketAddr,
    protocol: &'static str,
    forward: &'static str,
    keys: Vec<String>,
    tables: Vec<String>,
    backends: Vec<(IpAddr, u16)>,
    backend_port: Option<u16>,
}

impl Service {
    pub(crate) fn tcp(name: &str, vip: SocketAddr) -> Self {
        Self::new(name, vip, "tcp")
    }

    pub(crate) fn udp(name: &str, vip: SocketAddr) -> Self {
        Self::new(name, vip, "udp")
    }

    fn new(name: &str, vip: SocketAddr, protocol: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            vip,
            protocol,
            forward: "l2",
            keys: Vec::new(),
            tables: Vec::new(),
            backends: Vec::new(),
            backend_port: None,
        }
    }

    /// Packets travel through tunnels.
    pub(crate) fn by_tunnel(self) -> Self {
        self.forwarded("ipip")
    }

    /// Packets reach backends in this way.
    pub(crate) const fn forwarded(mut self, forward: &'static str) -> Self {
        self.forward = forward;
        self
    }

    /// Packets are translated, to this port of all backends.
    pub(crate) const fn by_translation(mut self, backend_port: u16) -> Self {
        self.backend_port = Some(backend_port);
        self.forwarded("nat")
    }

    /// Adds backends of this family, all of one weight.
    pub(crate) fn to(mut self, family: Family, numbers: RangeInclusive<u8>) -> Self {
        let backends = numbers.map(|number| (address::backend(family, number), 100));
        self.backends.extend(backends);
        self
    }

    /// Adds a backend.
    pub(crate) fn weighted(mut self, address: IpAddr, weight: u16) -> Self {
        self.backends.push((address, weight));
        self
    }

    /// Checks backends: slowly enough for a busy machine, and down after three failures.
    pub(crate) fn checked(self) -> Self {
        self.table(
            "health_check",
            "type = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 3",
        )
    }

    /// Adds a key of the service itself, as a line.
    pub(crate) fn key(mut self, line: &str) -> Self {
        self.keys.push(line.to_owned());
        self
    }

    /// Adds a table below the service.
    pub(crate) fn table(mut self, name: &str, lines: &str) -> Self {
        self.tables.push(format!("[service.{name}]\n{lines}"));
        self
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[service]]\nname = \"{}\"", self.name)?;
        writeln!(f, "vip = \"{}\"\nport = {}", self.vip.ip(), self.vip.port())?;
        writeln!(f, "protocol = \"{}\"\nforward = \"{}\"", self.protocol, self.forward)?;
        for line in self.keys.iter().chain(&self.tables) {
            writeln!(f, "{line}")?;
        }
        for (address, weight) in &self.backends {
            writeln!(f, "[[service.backend]]\naddress = \"{address}\"\nweight = {weight}")?;
            if let Some(port) = self.backend_port {
                writeln!(f, "port = {port}")?;
            }
        }
        Ok(())
    }
}
