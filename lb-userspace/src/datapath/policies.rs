//! What a service asks for beyond the common way, and the entry of `POLICIES` that it comes to.

use std::{
    collections::BTreeMap,
    hash::{Hash as _, Hasher},
    time::Duration,
};

use lb_common::{
    Address, Policy,
    bucket::Rate,
    flow::TICK,
    policy::{ServerIdLayout, flag},
};

use super::keyed::MappedPrefix;

/// What a service asks for beyond the common way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredPolicy {
    /// Sources that are allowed (true) and denied; the longest prefix counts.
    pub rules: BTreeMap<MappedPrefix, bool>,
    /// Whether sources without a rule are denied.
    pub denies_others: bool,
    /// New flows in all.
    pub limit: Option<FlowLimit>,
    /// New flows of one source.
    pub source_limit: Option<FlowLimit>,
    /// Whether clients are told that there is no backend.
    pub refuses: bool,
    /// How flows of UDP find their backend.
    pub udp: DesiredUdp,
    /// Whether flows are told apart by client address alone.
    pub by_address: bool,
    /// First and last port that translated flows show to backends; `None` does not translate.
    pub nat_ports: Option<(u16, u16)>,
}

/// How many flows may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimit {
    /// Flows in a minute, in the long run.
    pub per_minute: u64,
    /// Flows at once, after a time without any; at most 2^24 - 1.
    pub burst: u32,
}

/// How flows of UDP find their backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DesiredUdp {
    /// By the hash of addresses and ports.
    #[default]
    Hash,
    /// They are remembered until they have been silent for this long.
    Remember(Duration),
    /// By the server that their QUIC connection identifier names.
    Quic {
        /// Where it stands there.
        layout: ServerIdLayout,
        /// The backends' identifiers, as big-endian numbers.
        servers: BTreeMap<Address, u64>,
    },
}

impl DesiredPolicy {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The entry that says so on a kernel with `hz` clock ticks in a second. `servers` are the
    /// indices of the backends that have server identifiers, which belong to the fingerprint.
    #[must_use]
    pub(super) fn entry(&self, hz: u32, servers: &BTreeMap<u64, u16>) -> Policy {
        let mut policy = Policy::NONE;
        policy.flags = self.flags();
        policy.limit = self.limit.map_or(Rate::default(), |limit| limit.rate(hz));
        policy.source_limit = self.source_limit.map_or(Rate::default(), |limit| limit.rate(hz));
        match &self.udp {
            DesiredUdp::Hash => {}
            DesiredUdp::Remember(timeout) => policy.udp_timeout = flow_ticks(*timeout, hz),
            DesiredUdp::Quic { layout, .. } => policy.server_id = *layout,
        }
        let (first, last) = self.nat_ports.unwrap_or_default();
        policy.nat_ports = u32::from(first) | u32::from(last) << 16;
        policy.fingerprint = self.fingerprint(&policy, servers);
        policy
    }

    fn flags(&self) -> u32 {
        let asked = [
            (flag::RULES, !self.rules.is_empty() || self.denies_others),
            (flag::DENY_OTHERS, self.denies_others),
            (flag::LIMITED, self.limit.is_some()),
            (flag::SOURCE_LIMITED, self.source_limit.is_some()),
            (flag::REFUSE, self.refuses),
            (flag::NAT, self.nat_ports.is_some()),
            (flag::UDP_FLOWS, matches!(self.udp, DesiredUdp::Remember(_))),
            (flag::QUIC, matches!(self.udp, DesiredUdp::Quic { .. })),
            (flag::BY_ADDRESS, self.by_address),
        ];
        asked.iter().filter(|(_, is_asked)| *is_asked).fold(0, |flags, (bit, _)| flags | bit)
    }

    /// Hash of the entry, the rules and the server identifiers. Never zero, which is no policy's.
    fn fingerprint(&self, policy: &Policy, servers: &BTreeMap<u64, u16>) -> u64 {
        let mut hasher = Fingerprint::default();
        let Policy { flags, udp_timeout, limit, source_limit, server_id, nat_ports, .. } = *policy;
        (flags, udp_timeout, nat_ports).hash(&mut hasher);
        for rate in [limit, source_limit] {
            (rate.per_jiffy, rate.burst).hash(&mut hasher);
        }
        (server_id.offset, server_id.length).hash(&mut hasher);
        for (MappedPrefix { length, address }, is_allowed) in &self.rules {
            (length, address, is_allowed).hash(&mut hasher);
        }
        // A rule has a length, a server none: the lists cannot be taken for one another.
        u8::MAX.hash(&mut hasher);
        for (id, backend) in servers {
            (id, backend).hash(&mut hasher);
        }
        hasher.finish() | 1
    }
}

impl FlowLimit {
    /// The same in the kernel's clock ticks. A rate below what a tick can express is that.
    fn rate(self, hz: u32) -> Rate {
        let per_jiffy = (self.per_minute << 16) as f64 / f64::from(hz) / 60.0;
        Rate { per_jiffy: (per_jiffy.round() as u32).max(1), burst: self.burst }
    }
}

/// Ticks of the flow cache that `time` takes at least: a tick that has begun counts.
fn flow_ticks(time: Duration, hz: u32) -> u32 {
    /// The cache counts modulo 65,536.
    const MOST: f64 = 65_000.0;

    let ticks = time.as_secs_f64() * f64::from(hz) / f64::from(1_u32 << TICK);
    ticks.ceil().min(MOST) as u32
}

/// FNV-1a over what is hashed, the same in every build: fingerprints outlive the daemon.
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        lb_common::hash::spread(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: FlowLimit = FlowLimit { per_minute: 60 * 1000, burst: 7 };

    #[test]
    fn nothing_special_is_no_policy() {
        assert!(DesiredPolicy::default().is_plain());
        assert_eq!(DesiredPolicy::default().entry(250, &BTreeMap::new()).flags, 0);
    }

    #[test]
    fn rates_follow_the_kernels_clock() {
        for (hz, per_jiffy) in [(100, 10 << 16), (250, 4 << 16), (1000, 1 << 16)] {
            assert_eq!(LIMIT.rate(hz), Rate { per_jiffy, burst: 7 });
        }
        let slowest = FlowLimit { per_minute: 1, burst: 1 };
        assert_eq!([100, 250, 1000].map(|hz| slowest.rate(hz).per_jiffy), [11, 4, 1]);
        let fastest = FlowLimit { per_minute: 60 * 5_000_000, burst: 1 };
        assert_eq!(fastest.rate(100).per_jiffy, 50_000 << 16);
    }

    #[test]
    fn times_are_kept_at_least() {
        assert_eq!(flow_ticks(Duration::from_secs(1), 250), 1);
        assert_eq!(flow_ticks(Duration::from_secs(1), 1000), 4);
        assert_eq!(flow_ticks(Duration::from_secs(60), 100), 24);
        assert_eq!(flow_ticks(Duration::MAX, 1000), 65_000);
    }

    #[test]
    fn whatever_differs_shows_in_the_fingerprint() {
        let prefix = |length, last| {
            let address: std::net::IpAddr = [10, 0, 0, last].into();
            MappedPrefix::new(&address.into(), length)
        };
        let plain = DesiredPolicy::default;
        let rule = |length, last, is_allowed| DesiredPolicy {
            rules: BTreeMap::from([(prefix(length, last), is_allowed)]),
            ..plain()
        };
        let quic = |offset| DesiredUdp::Quic {
            layout: ServerIdLayout { offset, length: 4 },
            servers: BTreeMap::new(),
        };
        let none = BTreeMap::new();
        let policies = [
            (plain(), none.clone()),
            (rule(32, 1, true), none.clone()),
            (rule(32, 1, false), none.clone()),
            (rule(32, 2, true), none.clone()),
            (rule(31, 2, true), none.clone()),
            (DesiredPolicy { denies_others: true, ..rule(32, 1, true) }, none.clone()),
            (DesiredPolicy { limit: Some(LIMIT), ..plain() }, none.clone()),
            (DesiredPolicy { source_limit: Some(LIMIT), ..plain() }, none.clone()),
            (DesiredPolicy { refuses: true, ..plain() }, none.clone()),
            (DesiredPolicy { by_address: true, ..plain() }, none.clone()),
            (DesiredPolicy { nat_ports: Some((1, 2)), ..plain() }, none.clone()),
            (DesiredPolicy { nat_ports: Some((1, 3)), ..plain() }, none.clone()),
            (DesiredPolicy { udp: quic(1), ..plain() }, none.clone()),
            (DesiredPolicy { udp: quic(2), ..plain() }, none),
            (DesiredPolicy { udp: quic(1), ..plain() }, BTreeMap::from([(7, 1)])),
            (DesiredPolicy { udp: quic(1), ..plain() }, BTreeMap::from([(7, 2)])),
            (DesiredPolicy { udp: quic(1), ..plain() }, BTreeMap::from([(8, 1)])),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for (policy, servers) in &policies {
            let fingerprint = policy.entry(250, servers).fingerprint;
            assert!(seen.insert(fingerprint), "{policy:?}");
            assert_eq!(policy.clone().entry(250, servers).fingerprint, fingerprint);
        }
    }
}
