//! The way to an address, or why there is none.

use std::{fmt, net::IpAddr};

/// The way to an address, as the kernel's routing and neighbour tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Our own address towards it. Unspecified (`0.0.0.0`, `::`) if this machine has none.
    pub source: IpAddr,
    /// Index of the interface that leads there.
    pub interface: u32,
    /// Name of that interface.
    pub interface_name: String,
    /// Largest IP packet that fits, in bytes: the interface's, or less if the route says so.
    pub mtu: u16,
    /// Hardware address of the next hop.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub link_source: [u8; 6],
}

/// Why there is no way to an address, as one phrase for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No route leads there, for this reason.
    #[error("no route: {0}")]
    NoRoute(String),
    /// The address is this machine's own.
    #[error("the address is this machine's own")]
    Local,
    /// The next hop does not say its hardware address.
    #[error("{next_hop} does not answer on {interface_name}: its hardware address is not known")]
    Unresolved {
        /// A gateway, or the address itself.
        next_hop: IpAddr,
        /// Where it was asked for.
        interface_name: String,
    },
    /// The interface that leads there cannot be used.
    #[error("interface {name} {problem}")]
    Interface {
        /// Its name, or its index if it is gone.
        name: String,
        /// What is wrong with it.
        problem: InterfaceProblem,
    },
    /// The kernel did not answer. Says nothing about the address.
    #[error("not known, the kernel's tables could not be read: {0}")]
    Unreadable(String),
}

/// Why an interface cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceProblem {
    /// It is not there any more.
    Gone,
    /// It was not set up.
    Down,
    /// It is up, and has no connection to the other end.
    NoCarrier,
    /// Frames on it have no Ethernet header, as in tunnels.
    NotEthernet,
}

impl fmt::Display for InterfaceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "is gone",
            Self::Down => "is down",
            Self::NoCarrier => "has no carrier",
            Self::NotEthernet => "is not an Ethernet interface",
        })
    }
}

/// The way to an address became known, changed or was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayEvent {
    /// Which address.
    pub address: IpAddr,
    /// The way to it from now on.
    pub way: Result<Way, Fault>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_well() {
        for (fault, expected) in [
            (
                Fault::NoRoute("a prohibit route forbids it".into()),
                "no route: a prohibit route forbids it",
            ),
            (Fault::Local, "the address is this machine's own"),
            (
                Fault::Unresolved {
                    next_hop: [10, 0, 0, 254].into(),
                    interface_name: "eth0".into(),
                },
                "10.0.0.254 does not answer on eth0: its hardware address is not known",
            ),
            (
                Fault::Interface { name: "eth0".into(), problem: InterfaceProblem::NoCarrier },
                "interface eth0 has no carrier",
            ),
        ] {
            assert_eq!(fault.to_string(), expected);
        }
    }
}
