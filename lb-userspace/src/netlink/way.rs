//! The way to an address, or why there is none.

use std::{fmt, net::IpAddr};

use lb_common::{Forward, backend::HERE};

/// The way to an address, as the kernel's routing and neighbour tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Who takes the packets at the other end of the interface.
    pub via: Via,
    /// Our own address towards it. Unspecified (`0.0.0.0`, `::`) if this machine has none.
    pub source: IpAddr,
    /// Index of the interface that leads there; [`HERE`] if the address is this machine's own.
    pub interface: u32,
    /// Name of that interface.
    pub interface_name: String,
    /// The VLAN in whose tag packets leave; `None` if they leave with the tags that they have.
    pub vlan: Option<u16>,
    /// Largest IP packet that fits, in bytes: the interface's, or less if the route says so.
    pub mtu: u16,
    /// Hardware address of the next hop.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub link_source: [u8; 6],
}

impl Way {
    /// The way to an address of this machine, which has neither limits nor hardware addresses.
    #[must_use]
    pub fn here(address: IpAddr) -> Self {
        Self {
            via: Via::Here,
            source: address,
            interface: HERE,
            interface_name: "lo".into(),
            vlan: None,
            mtu: u16::MAX,
            destination: [0; 6],
            link_source: [0; 6],
        }
    }
}

/// Who takes packets for an address at the other end of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Whoever has the address.
    Direct,
    /// A gateway, which sends them on by the address that it finds in them.
    Gateway(IpAddr),
    /// Nobody: the address is this machine's own.
    Here,
}

impl Via {
    /// Whether packets that are forwarded like this arrive; if not, why.
    pub const fn carries(self, forward: Forward) -> Result<(), Fault> {
        match (forward, self) {
            // What the gateway finds is the service's address, which leads back to this machine.
            (Forward::L2, Self::Gateway(gateway)) => Err(Fault::BehindGateway(gateway)),
            // Answers that do not leave the machine do not pass the program either.
            (Forward::Nat, Self::Here) => Err(Fault::Local),
            _ => Ok(()),
        }
    }
}

/// Why there is no way to an address, as one phrase for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No route leads there, for this reason.
    #[error("no route: {0}")]
    NoRoute(String),
    /// A gateway stands before the address, and packets would not say where they are to go.
    #[error("behind gateway {0}: l2 reaches only neighbours; use ipip")]
    BehindGateway(IpAddr),
    /// Packets would be translated on their way in, and their answers not on their way out.
    #[error(
        "the address is this machine's own: nat cannot translate the answers; use l2 or ipip with \
         the service's address on lo"
    )]
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
    /// It is above another interface, and packets come in by neither.
    Vlan,
}

impl fmt::Display for InterfaceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "is gone",
            Self::Down => "is down",
            Self::NoCarrier => "has no carrier",
            Self::NotEthernet => "is not an Ethernet interface",
            Self::Vlan => {
                "is a VLAN device, by which XDP cannot send: name it, or the interface below it, in \
                 daemon.interfaces"
            }
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
    fn not_every_way_carries_everything() {
        let gateway = IpAddr::from([10, 0, 0, 254]);
        for (via, forward, expected) in [
            (Via::Direct, Forward::L2, Ok(())),
            (Via::Direct, Forward::Ipip, Ok(())),
            (Via::Here, Forward::L2, Ok(())),
            (Via::Here, Forward::Ipip, Ok(())),
            (Via::Direct, Forward::Nat, Ok(())),
            (Via::Here, Forward::Nat, Err(Fault::Local)),
            (Via::Gateway(gateway), Forward::Ipip, Ok(())),
            (Via::Gateway(gateway), Forward::Gue, Ok(())),
            (Via::Gateway(gateway), Forward::Nat, Ok(())),
            (Via::Gateway(gateway), Forward::L2, Err(Fault::BehindGateway(gateway))),
        ] {
            assert_eq!(via.carries(forward), expected, "{forward:?} {via:?}");
        }
    }

    #[test]
    fn faults_read_well() {
        for (fault, expected) in [
            (
                Fault::NoRoute("a prohibit route forbids it".into()),
                "no route: a prohibit route forbids it",
            ),
            (
                Fault::BehindGateway([10, 0, 0, 254].into()),
                "behind gateway 10.0.0.254: l2 reaches only neighbours; use ipip",
            ),
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
