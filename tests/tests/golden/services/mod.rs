//! What services ask for beyond the common way: which packets they take, and how they share them.

mod fragments;
mod limits;
mod pings;
mod precedence;
mod quic;
mod remembered;
mod schedulers;
mod sources;

use std::net::IpAddr;

use lb_common::{Forward, ServiceKey, Verdict};
use lb_tests::packets::{
    Balancer, Shape,
    fixture::{self, Kind},
    hopped, relinked,
};
use lb_userspace::datapath::{
    desired::{DesiredMember, DesiredService, Flows},
    keyed::MappedPrefix,
    policies::DesiredPolicy,
};

/// Backends, which are known by their hardware address.
const BACKENDS: [Kind; 5] = [FIRST, SECOND, THIRD, FOURTH, FIFTH];
const FIRST: Kind = Kind::L2;
const SECOND: Kind = Kind::OverIpv4;
const THIRD: Kind = Kind::SmallMtu;
const FOURTH: Kind = Kind::SmallMtuL2;
const FIFTH: Kind = Kind::Gue;

/// A balancer with some services, all of which forward by `l2`.
struct Site {
    balancer: Balancer,
}

impl Site {
    fn new(services: &[DesiredService]) -> Self {
        let mut site = Self { balancer: Balancer::load().expect("the kernel takes the program") };
        site.change(services);
        site
    }

    fn change(&mut self, services: &[DesiredService]) {
        let tables = self.balancer.tables();
        tables.commit(services, fixture::route).all().expect("there is room");
        let epoch = tables.begin_grace();
        epoch.into_iter().for_each(|epoch| tables.reclaim(epoch));
    }

    /// The backend that a frame reaches, or why it reaches none; it is unchanged then.
    fn fate(&mut self, frame: &[u8]) -> Result<Kind, Verdict> {
        let outcome = self.balancer.agree(frame);
        if outcome.verdict != Verdict::Transmitted {
            return Err(outcome.verdict);
        }
        let reaches = |kind: &Kind| {
            outcome.bytes == relinked(&hopped(frame), &kind.route().expect("a way").next.link)
        };
        Ok(BACKENDS.into_iter().find(reaches).expect("a known backend"))
    }

    /// What happens to a packet.
    fn fate_of(&mut self, shape: &Shape) -> Result<Kind, Verdict> {
        self.fate(&shape.frame())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.balancer.compare().expect("the same counters and flows");
        }
    }
}

/// A service that asks for nothing special.
fn service(key: ServiceKey, backends: &[Kind]) -> DesiredService {
    let members = backends.iter().map(|kind| fixture::member(kind.backend(), 100));
    DesiredService::plain(key, Forward::L2, members.collect())
}

/// The same with a policy.
fn with(policy: DesiredPolicy, service: DesiredService) -> DesiredService {
    DesiredService { policy, ..service }
}

/// A backend without slots.
fn leaving(kind: Kind, flows: Flows) -> DesiredMember {
    DesiredMember { flows, ..fixture::member(kind.backend(), 0) }
}

/// The key of a service on every address of a prefix.
fn prefix_key(prefix: &str, length: u8, port: u16, protocol: u8) -> ServiceKey {
    ServiceKey::of_prefix(parsed(prefix).into(), length, port, protocol)
}

/// A prefix of sources.
fn source(prefix: &str, length: u8) -> MappedPrefix {
    MappedPrefix::new(&parsed(prefix).into(), length)
}

fn parsed(address: &str) -> IpAddr {
    address.parse().expect("an address")
}
