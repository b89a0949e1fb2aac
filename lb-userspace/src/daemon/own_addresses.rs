//! Services that take what is meant for this machine itself.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv6Addr},
};

use tokio::sync::mpsc;

use super::Daemon;
use crate::{
    model::{Ports, Service, Vip},
    netlink,
};

/// The addresses of this machine, and what was said of them.
pub(super) struct OwnAddresses {
    addresses: BTreeSet<IpAddr>,
    /// The services that somebody was warned of, in words.
    told: BTreeSet<String>,
    changes: mpsc::Receiver<BTreeSet<IpAddr>>,
}

impl OwnAddresses {
    /// None yet; they are followed from now on. Must be called in a runtime.
    pub(super) fn follow() -> io::Result<Self> {
        let changes = netlink::watch_local_addresses()?;
        Ok(Self { addresses: BTreeSet::new(), told: BTreeSet::new(), changes })
    }

    /// The next change, as the addresses that there are after it; waits for it. `None` if they are
    /// not followed any more.
    pub(super) async fn changed(&mut self) -> Option<BTreeSet<IpAddr>> {
        self.changes.recv().await
    }
}

impl Daemon {
    /// Takes in the addresses of this machine.
    pub(super) fn take_own_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.own_addresses.addresses = addresses;
        self.warn_of_own_addresses();
    }

    /// Says once in the log which services take packets of this machine.
    pub(super) fn warn_of_own_addresses(&mut self) {
        let problems: BTreeSet<String> = self.own_address_problems().into_iter().collect();
        for problem in problems.difference(&self.own_addresses.told) {
            tracing::warn!("{problem}");
        }
        self.own_addresses.told = problems;
    }

    pub(super) fn own_address_problems(&self) -> Vec<String> {
        let services = self.control.services().values().filter(|service| is_wide(service));
        let problem = |service: &Service| {
            let members = self.control.views_of(service);
            let members: Vec<IpAddr> = members.iter().map(|view| view.name.address).collect();
            problem(service, &members, &self.own_addresses.addresses)
        };
        services.filter_map(problem).collect()
    }
}

/// Whether a service has more than what it names one by one.
fn is_wide(service: &Service) -> bool {
    matches!(service.vip, Vip::Prefix(_)) || service.ports == Ports::Every
}

/// What is wrong with a wide service if it holds an address of this machine. One of which this
/// machine is a backend is meant to.
fn problem(service: &Service, members: &[IpAddr], own: &BTreeSet<IpAddr>) -> Option<String> {
    if members.iter().any(|member| own.contains(member)) {
        return None;
    }
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V6(address) => Ipv6Addr::is_unicast_link_local(address),
        IpAddr::V4(_) => false,
    };
    let taken = own.iter().filter(|address| service.vip.holds(**address));
    let taken: Vec<String> =
        taken.filter(|address| !is_link_local(address)).map(ToString::to_string).collect();
    if taken.is_empty() {
        return None;
    }
    let protocol = match service.protocol {
        crate::model::Protocol::Tcp => "TCP",
        crate::model::Protocol::Udp => "UDP",
    };
    let what = match service.ports {
        Ports::Every => format!("every {protocol} packet"),
        ports => format!("{protocol} packets to port {ports}"),
    };
    let addresses = taken.join(" and ");
    let remedy = match service.vip {
        Vip::Prefix(_) => "keep it out of the prefix",
        Vip::Address(_) => "name the service's ports",
    };
    Some(format!(
        "`{}` takes {what} for {addresses}, which this machine itself has: what is meant for it, as \
         ssh, answers to its health checks and what backends of `nat` services answer, does not \
         arrive; {remedy}, or use another address",
        service.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(vip: &str, port: &str) -> Service {
        let text = format!("name = \"web\"\nvip = \"{vip}\"\nport = {port}\nforward = \"l2\"");
        crate::config::parse_service("a service", &text).expect("valid")
    }

    #[test]
    fn every_port_and_prefixes_take_what_is_for_this_machine() {
        let own: BTreeSet<IpAddr> =
            ["127.0.0.1", "10.0.1.1", "10.0.2.1", "fe80::1", "fd00::1"].map(addresses).into();
        for (vip, port, expected) in [
            ("10.0.1.1", "0", Some("`web` takes every TCP packet for 10.0.1.1, which")),
            ("fd00::1", "0", Some("`web` takes every TCP packet for fd00::1, which")),
            ("10.0.0.0/16", "0", Some("every TCP packet for 10.0.1.1 and 10.0.2.1, which")),
            ("10.0.1.0/24", "443", Some("TCP packets to port 443 for 10.0.1.1, which")),
            ("10.0.1.0/24", "\"80-89\"", Some("TCP packets to port 80-89 for 10.0.1.1, which")),
            ("10.0.1.1", "443", None),
            ("10.0.1.1", "\"80-89\"", None),
            ("10.0.1.2", "0", None),
            ("10.0.3.0/24", "0", None),
            ("fe80::/16", "0", None),
        ] {
            let service = service(vip, port);
            let said = is_wide(&service).then(|| problem(&service, &[], &own)).flatten();
            let is_expected = match (&said, expected) {
                (Some(said), Some(expected)) => said.contains(expected),
                (None, None) => true,
                _ => false,
            };
            assert!(is_expected, "{vip} {port}: {said:?}");
        }
    }

    #[test]
    fn a_service_of_which_this_machine_is_a_backend_may_have_its_address() {
        let own = BTreeSet::from(["10.0.1.1", "10.200.0.1"].map(addresses));
        let service = service("10.200.0.1", "0");
        let members = ["10.0.1.11", "10.0.1.1"].map(addresses);
        assert_eq!(problem(&service, &members, &own), None);
        assert!(problem(&service, &members[..1], &own).is_some());
    }

    fn addresses(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }
}
