//! Where the packets of each check's socket are to go.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use lb_common::Forward;

use super::packet::Sender;

/// A tunnel to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Exit {
    /// Where it ends.
    pub(super) backend: IpAddr,
    /// Which headers.
    pub(super) kind: Kind,
}

/// Kinds of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Ipip,
    Gue,
}

impl Kind {
    pub(super) const fn of(forward: Forward) -> Option<Self> {
        match forward {
            Forward::Ipip => Some(Self::Ipip),
            Forward::Gue => Some(Self::Gue),
            Forward::L2 | Forward::Nat => None,
        }
    }
}

/// The tunnel of each socket. An entry stays until its port is used again, so there are as many as
/// this machine has ephemeral ports and addresses that checks come from.
#[derive(Debug, Default)]
pub(super) struct Exits(Mutex<HashMap<Sender, Exit>>);

impl Exits {
    /// From now on packets of `sender` leave there, or, without an exit, nowhere.
    pub(super) fn set(&self, sender: Sender, exit: Option<Exit>) {
        let mut exits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match exit {
            Some(exit) => exits.insert(sender, exit),
            None => exits.remove(&sender),
        };
    }

    pub(super) fn of(&self, sender: &Sender) -> Option<Exit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(sender).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn a_port_leads_where_its_last_socket_goes() {
        let exits = Exits::default();
        let sender = |protocol, local: &str| {
            Sender::new(protocol, local.parse().expect("an address and port"))
        };
        let exit = |last, kind| Some(Exit { backend: [10, 0, 0, last].into(), kind });
        let tcp = sender(Protocol::Tcp, "10.0.0.1:4000");
        exits.set(tcp, exit(2, Kind::Ipip));
        for other in [
            sender(Protocol::Udp, "10.0.0.1:4000"),
            sender(Protocol::Tcp, "10.0.0.1:4001"),
            // Two addresses of this machine may have the same port in use.
            sender(Protocol::Tcp, "10.0.1.1:4000"),
            sender(Protocol::Tcp, "[fd00::1]:4000"),
        ] {
            assert_eq!(exits.of(&other), None, "{other:?}");
            exits.set(other, exit(9, Kind::Gue));
        }
        assert_eq!(exits.of(&tcp), exit(2, Kind::Ipip));
        exits.set(tcp, exit(3, Kind::Gue));
        assert_eq!(exits.of(&tcp), exit(3, Kind::Gue));
        exits.set(tcp, None);
        assert_eq!(exits.of(&tcp), None);
    }

    #[test]
    fn only_two_ways_to_forward_are_tunnels() {
        assert_eq!(Kind::of(Forward::Ipip), Some(Kind::Ipip));
        assert_eq!(Kind::of(Forward::Gue), Some(Kind::Gue));
        assert_eq!(Kind::of(Forward::L2).or(Kind::of(Forward::Nat)), None);
    }
}
