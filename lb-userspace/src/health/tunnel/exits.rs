//! Where the packets of each check's socket are to go.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lb_common::Forward;

use super::packet::Ends;
use crate::health::CheckFlow;

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

/// Time that the last packets of a socket may take from it to the reader.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// The tunnel of what each check's socket sends.
///
/// Any program of this machine may send into the device (`SO_BINDTODEVICE` needs no capability, and
/// no rule keeps its packets out). So there is an exit between the ends of a check alone, which
/// others cannot have while it is open, and for as long as the check lasts.
#[derive(Debug, Default)]
pub(super) struct Exits(Mutex<HashMap<Ends, Open>>);

#[derive(Clone, Copy, Debug)]
struct Open {
    exit: Exit,
    until: Instant,
}

impl Exits {
    /// From `now` on packets of `flow` leave there, or, without an exit, nowhere.
    pub(super) fn set_at(&self, now: Instant, flow: &CheckFlow, exit: Option<Exit>) {
        let mut exits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = Ends::of_check(flow);
        let Some(exit) = exit else {
            exits.remove(&ends);
            return;
        };
        // Those of checks that are over go before the map would grow.
        if exits.len() == exits.capacity() {
            exits.retain(|_, open| now < open.until);
        }
        exits.insert(ends, Open { exit, until: now + flow.lasts + LAST_PACKETS });
    }

    /// Where a packet leaves, if a check has sent it.
    pub(super) fn of_at(&self, now: Instant, ends: &Ends) -> Option<Exit> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(ends).copied()?;
        (now < open.until).then_some(open.exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    const LASTS: Duration = Duration::from_secs(2);

    fn flow(protocol: Protocol, local: &str, remote: &str) -> CheckFlow {
        let [local, remote] = [local, remote].map(|end| end.parse().expect("address and port"));
        CheckFlow { protocol, local, remote, lasts: LASTS }
    }

    fn exit(last: u8, kind: Kind) -> Option<Exit> {
        Some(Exit { backend: [10, 0, 0, last].into(), kind })
    }

    #[test]
    fn only_what_a_check_sends_has_its_exit() {
        let (exits, now) = (Exits::default(), Instant::now());
        let of = |flow: &CheckFlow| exits.of_at(now, &Ends::of_check(flow));
        let check = flow(Protocol::Tcp, "10.0.0.1:4000", "192.0.2.1:80");
        exits.set_at(now, &check, exit(2, Kind::Ipip));
        for other in [
            flow(Protocol::Udp, "10.0.0.1:4000", "192.0.2.1:80"),
            flow(Protocol::Tcp, "10.0.0.1:4001", "192.0.2.1:80"),
            // Two addresses of this machine may have the same port in use.
            flow(Protocol::Tcp, "10.0.1.1:4000", "192.0.2.1:80"),
            flow(Protocol::Tcp, "[fd00::1]:4000", "[2001:db8::1]:80"),
            // A backend's other services, and whom it leads to.
            flow(Protocol::Tcp, "10.0.0.1:4000", "192.0.2.1:22"),
            flow(Protocol::Tcp, "10.0.0.1:4000", "192.0.2.2:80"),
        ] {
            assert_eq!(of(&other), None, "{other:?}");
            exits.set_at(now, &other, exit(9, Kind::Gue));
        }
        assert_eq!(of(&check), exit(2, Kind::Ipip));
        exits.set_at(now, &check, exit(3, Kind::Gue));
        assert_eq!(of(&check), exit(3, Kind::Gue));
        exits.set_at(now, &check, None);
        assert_eq!(of(&check), None);
    }

    #[test]
    fn an_exit_is_open_for_as_long_as_its_check_lasts() {
        let (exits, begin) = (Exits::default(), Instant::now());
        let check = flow(Protocol::Tcp, "10.0.0.1:4000", "192.0.2.1:80");
        exits.set_at(begin, &check, exit(2, Kind::Ipip));
        let at = |after| exits.of_at(begin + after, &Ends::of_check(&check));
        // The last packets are read when the socket is gone.
        assert_eq!(at(LASTS + LAST_PACKETS / 2), exit(2, Kind::Ipip));
        assert_eq!(at(LASTS + LAST_PACKETS), None);
        for second in 0..1000 {
            let local = format!("10.0.0.1:{}", 1 + second);
            let now = begin + Duration::from_secs(second);
            exits.set_at(now, &flow(Protocol::Tcp, &local, "192.0.2.1:80"), exit(2, Kind::Gue));
        }
        let held = exits.0.lock().expect("nobody panics").len();
        assert!(held < 10, "{held} exits, of which three are open");
    }

    #[test]
    fn only_two_ways_to_forward_are_tunnels() {
        assert_eq!(Kind::of(Forward::Ipip), Some(Kind::Ipip));
        assert_eq!(Kind::of(Forward::Gue), Some(Kind::Gue));
        assert_eq!(Kind::of(Forward::L2).or(Kind::of(Forward::Nat)), None);
    }
}
