//! What tunnels show of the load balancer, the same in all services.

use ipnet::IpNet;
use lb_common::{Address, Backend, Forward, forward::gue};

/// The outer source addresses and ports of tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnels {
    gue_port: u16,
    ipv4: Option<Spread>,
    ipv6: Option<Spread>,
}

/// A prefix among whose addresses the flow chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread {
    network: Address,
    /// The bits that the flow sets, of the last 16.
    mask: u16,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self::new(gue::PORT, &[])
    }
}

impl Tunnels {
    /// GUE to this port; of `sources`, the prefix of a family is the source of all tunnels of that
    /// family, without one it is our own address towards the backend. A prefix leaves at most 16
    /// bits free.
    #[must_use]
    pub fn new(gue_port: u16, sources: &[IpNet]) -> Self {
        let of = |is_ipv6: bool| {
            let net = sources.iter().find(|net| net.network().is_ipv6() == is_ipv6)?;
            let free = u32::from(net.max_prefix_len() - net.prefix_len());
            let mask = (1_u32 << free.min(16)).wrapping_sub(1) as u16;
            Some(Spread { network: net.network().into(), mask })
        };
        Self { gue_port, ipv4: of(false), ipv6: of(true) }
    }

    /// The entry of a backend whose next hop is not known yet. `source` is our own address towards
    /// it.
    pub(super) fn entry(
        &self,
        service: u32,
        generation: u16,
        forward: Forward,
        backend: Address,
        source: Address,
    ) -> Backend {
        let spread = match forward {
            Forward::L2 | Forward::Nat => None,
            Forward::Ipip | Forward::Gue if backend.is_ipv6() => self.ipv6,
            Forward::Ipip | Forward::Gue => self.ipv4,
        };
        let source = spread.map_or(source, |spread| spread.network);
        let mask = spread.map_or(0, |spread| spread.mask);
        let entry = Backend::new(service, generation, forward, backend, source).spread(mask);
        match forward {
            Forward::Gue => entry.at_port(self.gue_port),
            Forward::L2 | Forward::Ipip | Forward::Nat => entry,
        }
    }

    /// An entry made anew because our own address towards the backend is `source`; `None` if
    /// nothing but the next hop would differ.
    pub(super) fn renew(&self, entry: &Backend, source: Address) -> Option<Backend> {
        let forward = entry.forward()?;
        let new = self.entry(entry.service(), entry.generation(), forward, entry.address(), source);
        let new = match forward {
            Forward::Gue => new,
            Forward::L2 | Forward::Ipip | Forward::Nat => new.at_port(entry.port()),
        };
        let shown = |entry: &Backend| (entry.source_address(), entry.spread_mask(), entry.port());
        new.set_stance(entry.stance());
        (shown(entry) != shown(&new)).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("test address").into()
    }

    fn tunnels() -> Tunnels {
        let sources = ["10.1.255.0/24", "2001:db8:ff::/112"];
        Tunnels::new(6081, &sources.map(|text| text.parse().expect("test prefix")))
    }

    #[test]
    fn each_family_has_its_prefix_and_only_tunnels_show_it() {
        let entry = |forward, backend: &str, source: &str| {
            let entry = tunnels().entry(1, 2, forward, address(backend), address(source));
            (entry.source_address(), entry.spread_mask(), entry.port())
        };
        let v4 = address("10.1.255.0");
        assert_eq!(entry(Forward::Ipip, "10.0.0.1", "10.0.0.9"), (v4, 0xff, 0));
        assert_eq!(entry(Forward::Gue, "10.0.0.1", "10.0.0.9"), (v4, 0xff, 6081));
        let v6 = address("2001:db8:ff::");
        assert_eq!(entry(Forward::Gue, "fd00::1", "fd00::9"), (v6, 0xffff, 6081));
        assert_eq!(entry(Forward::L2, "fd00::1", "fd00::9"), (address("fd00::9"), 0, 0));
        let without =
            Tunnels::default().entry(1, 2, Forward::Gue, address("10.0.0.1"), address("10.0.0.9"));
        assert_eq!((without.source_address(), without.port()), (address("10.0.0.9"), gue::PORT));
    }

    #[test]
    fn an_entry_is_renewed_only_for_what_is_seen() {
        let entry = tunnels().entry(1, 2, Forward::Ipip, address("10.0.0.1"), address("10.0.0.9"));
        assert!(tunnels().renew(&entry, address("10.0.0.8")).is_none());
        let renewed = Tunnels::default().renew(&entry, address("10.0.0.8")).expect("another");
        assert_eq!(renewed.source_address(), address("10.0.0.8"));
        assert_eq!((renewed.generation(), renewed.spread_mask()), (2, 0));
        let nat = Backend::new(1, 2, Forward::Nat, address("10.0.0.1"), address("10.0.0.9"));
        let renewed = tunnels().renew(&nat.at_port(8080), address("10.0.0.8")).expect("another");
        assert_eq!(renewed.port(), 8080);
    }
}
