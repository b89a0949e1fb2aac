//! What a service asks for beyond the common way, and the entry of `POLICIES` that it comes to.

use std::{
    collections::BTreeMap,
    hash::{Hash as _, Hasher},
    time::Duration,
};

use lb_common::{
    Address, Policy,
    bucket::Rate,
    flow,
    policy::{Scheduler, ServerIdLayout, flag},
};

use super::{
    keyed::MappedPrefix,
    schedulers::{DesiredScheduler, List},
};

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
    /// Which backend gets a new flow.
    pub scheduler: DesiredScheduler,
    /// Leading bits of clients' addresses by which alone slots are chosen; `None` chooses them by
    /// whole flows.
    pub source_prefix: Option<u8>,
    /// Whether flows are told apart by client address alone, so that fragments of any order can be
    /// the service's.
    pub by_address: bool,
    /// First and last port that translated flows show to backends; `None` does not translate.
    pub nat_ports: Option<(u16, u16)>,
    /// Whether the first answers of backends are looked at, see [`lb_common::signals::Signals`]: where
    /// flows are translated; elsewhere they do not pass by, and this asks for nothing.
    pub watches: bool,
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
        *self == Self { watches: self.watches, ..Self::default() }
    }

    /// Whether all flows are remembered.
    #[must_use]
    pub const fn remembers(&self) -> bool {
        let by_scheduler = self.scheduler.remembers() && self.nat_ports.is_none();
        by_scheduler || matches!(self.udp, DesiredUdp::Remember(_))
    }

    /// The entry that says so on a kernel with `hz` clock ticks in a second, but where the list is.
    #[must_use]
    pub(super) fn entry(&self, hz: u32, parts: &Parts) -> Policy {
        let mut policy = Policy::NONE;
        policy.flags = self.flags();
        policy.limit = self.limit.map_or(Rate::default(), |limit| limit.rate(hz));
        policy.source_limit = self.source_limit.map_or(Rate::default(), |limit| limit.rate(hz));
        match &self.udp {
            DesiredUdp::Hash => {}
            DesiredUdp::Remember(timeout) => policy.flow_timeout = flow_ticks(*timeout, hz),
            DesiredUdp::Quic { layout, .. } => policy.server_id = *layout,
        }
        if self.is_by_address() {
            policy.source_mask = mask(self.source_prefix.unwrap_or(128));
        }
        // A list of nobody is no list: whoever is left keeps the flows that are remembered.
        let needs_list = !matches!(self.scheduler.choice, Scheduler::Slot | Scheduler::Source);
        if !needs_list || !parts.list.is_empty() {
            policy.scheduler = self.scheduler.choice as u16;
            policy.listed = parts.list.listed();
        }
        if self.scheduler.choice == Scheduler::Source {
            policy.source_timeout = flow_ticks(self.scheduler.source_timeout, hz);
        }
        let (first, last) = self.nat_ports.unwrap_or_default();
        policy.nat_ports = u32::from(first) | u32::from(last) << 16;
        policy.fingerprint = self.fingerprint(&policy, parts);
        policy
    }

    const fn is_by_address(&self) -> bool {
        self.by_address || self.source_prefix.is_some()
    }

    fn flags(&self) -> u32 {
        let asked = [
            (flag::RULES, !self.rules.is_empty() || self.denies_others),
            (flag::DENY_OTHERS, self.denies_others),
            (flag::LIMITED, self.limit.is_some()),
            (flag::SOURCE_LIMITED, self.source_limit.is_some()),
            (flag::REFUSE, self.refuses),
            (flag::NAT, self.nat_ports.is_some()),
            (flag::REMEMBERED, self.remembers()),
            (flag::QUIC, matches!(self.udp, DesiredUdp::Quic { .. })),
            (flag::BY_ADDRESS, self.is_by_address()),
            (flag::WATCHED, self.watches && self.nat_ports.is_some()),
        ];
        asked.iter().filter(|(_, is_asked)| *is_asked).fold(0, |flags, (bit, _)| flags | bit)
    }

    /// Hash of the entry, the rules, the server identifiers and the list. Never zero, which is no
    /// policy's.
    fn fingerprint(&self, policy: &Policy, parts: &Parts) -> u64 {
        let mut hasher = Fingerprint::default();
        let Policy { flags, flow_timeout, limit, source_limit, server_id, nat_ports, .. } = *policy;
        (flags, flow_timeout, nat_ports).hash(&mut hasher);
        (policy.scheduler, policy.source_timeout, policy.source_mask).hash(&mut hasher);
        for rate in [limit, source_limit] {
            (rate.per_jiffy, rate.burst).hash(&mut hasher);
        }
        (server_id.offset, server_id.length).hash(&mut hasher);
        for (MappedPrefix { length, address }, is_allowed) in &self.rules {
            (length, address, is_allowed).hash(&mut hasher);
        }
        // A rule has a length, a server none: the lists cannot be taken for one another.
        u8::MAX.hash(&mut hasher);
        for (id, backend) in &parts.servers {
            (id, backend).hash(&mut hasher);
        }
        parts.list.hash(&mut hasher);
        hasher.finish() | 1
    }
}

/// What belongs to a policy's entry and names backends by their indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Those that have server identifiers, by these.
    pub(super) servers: BTreeMap<u64, u16>,
    /// Those that the scheduler chooses from.
    pub(super) list: List,
}

/// Words of an address whose leading bits are set; an IPv4 address is in the first.
fn mask(prefix: u8) -> [u32; 4] {
    let bits = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or_default();
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bits.to_be_bytes().as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

impl FlowLimit {
    /// The same in the kernel's clock ticks. A rate below what a tick can express is that.
    fn rate(self, hz: u32) -> Rate {
        let per_jiffy = (self.per_minute << 16) as f64 / f64::from(hz) / 60.0;
        Rate { per_jiffy: (per_jiffy.round() as u32).max(1), burst: self.burst }
    }
}

/// Ticks of the flow cache that `time` takes at least: a tick that has begun counts.
fn flow_ticks(time: Duration, hz: u32) -> u16 {
    /// The cache counts modulo 65,536.
    const MOST: f64 = 65_000.0;

    let ticks = time.as_secs_f64() * f64::from(hz) / f64::from(1_u32 << flow::tick(hz));
    ticks.ceil().min(MOST) as u16
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
    use crate::datapath::desired::{DesiredMember, Flows};

    const LIMIT: FlowLimit = FlowLimit { per_minute: 60 * 1000, burst: 7 };

    #[test]
    fn nothing_special_is_no_policy() {
        assert!(DesiredPolicy::default().is_plain());
        assert!(DesiredPolicy { watches: true, ..DesiredPolicy::default() }.is_plain());
        assert_eq!(DesiredPolicy::default().entry(250, &Parts::default()).flags, 0);
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
        assert_eq!(flow_ticks(Duration::from_secs(1), 1000), 1);
        assert_eq!(flow_ticks(Duration::from_secs(60), 100), 47);
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
        let scheduled =
            |choice| DesiredPolicy { scheduler: DesiredScheduler::new(choice), ..plain() };
        let sticky = |seconds, source_prefix| DesiredPolicy {
            scheduler: DesiredScheduler {
                source_timeout: Duration::from_secs(seconds),
                ..DesiredScheduler::new(Scheduler::Source)
            },
            source_prefix,
            ..plain()
        };
        let none = Parts::default();
        let server =
            |id, backend| Parts { servers: BTreeMap::from([(id, backend)]), ..Parts::default() };
        let listed = |weights: &[u32]| Parts {
            list: DesiredScheduler::new(Scheduler::Rotate).list(&members(weights), &[1, 2]),
            ..Parts::default()
        };
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
            (DesiredPolicy { nat_ports: Some((1, 3)), watches: true, ..plain() }, none.clone()),
            (DesiredPolicy { udp: quic(1), ..plain() }, none.clone()),
            (DesiredPolicy { udp: quic(2), ..plain() }, none.clone()),
            (DesiredPolicy { udp: quic(1), ..plain() }, server(7, 1)),
            (DesiredPolicy { udp: quic(1), ..plain() }, server(7, 2)),
            (DesiredPolicy { udp: quic(1), ..plain() }, server(8, 1)),
            (sticky(60, None), none.clone()),
            (sticky(120, None), none.clone()),
            (sticky(60, Some(24)), none.clone()),
            (sticky(60, Some(25)), none.clone()),
            (scheduled(Scheduler::Rotate), none),
            (scheduled(Scheduler::Rotate), listed(&[1, 1])),
            (scheduled(Scheduler::Rotate), listed(&[1, 2])),
            (scheduled(Scheduler::Random), listed(&[1, 2])),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for (policy, parts) in &policies {
            let fingerprint = policy.entry(250, parts).fingerprint;
            assert!(seen.insert(fingerprint), "{policy:?}");
            assert_eq!(policy.clone().entry(250, parts).fingerprint, fingerprint);
        }
    }

    #[test]
    fn a_prefix_masks_addresses_of_either_family() {
        let ones = u32::MAX;
        let word = |bytes| u32::from_ne_bytes(bytes);
        assert_eq!(mask(128), [ones; 4]);
        assert_eq!(mask(64), [ones, ones, 0, 0]);
        assert_eq!(mask(24), [word([255, 255, 255, 0]), 0, 0, 0]);
        assert_eq!(mask(33), [ones, word([128, 0, 0, 0]), 0, 0]);
        assert_eq!(mask(0), [0; 4]);
    }

    #[test]
    fn schedulers_remember_unless_flows_are_translated() {
        let scheduled = |choice| DesiredPolicy {
            scheduler: DesiredScheduler::new(choice),
            ..DesiredPolicy::default()
        };
        assert!(
            scheduled(Scheduler::Random).remembers() && !scheduled(Scheduler::Slot).remembers()
        );
        let nat = DesiredPolicy { nat_ports: Some((1, 2)), ..scheduled(Scheduler::Random) };
        assert!(!nat.remembers());
    }

    #[test]
    fn nobody_to_choose_from_leaves_it_to_the_slots() {
        let rotate = DesiredPolicy {
            scheduler: DesiredScheduler::new(Scheduler::Rotate),
            ..DesiredPolicy::default()
        };
        let entry = rotate.entry(250, &Parts::default());
        assert_eq!((entry.scheduler(), entry.listed), (Scheduler::Slot, 0));
        assert!(entry.asks(flag::REMEMBERED));
    }

    fn members(weights: &[u32]) -> Vec<DesiredMember> {
        let member = |(last, weight): (usize, &u32)| DesiredMember {
            address: Address::from(std::net::IpAddr::from([10, 0, 0, last as u8])),
            port: 0,
            base_weight: 100,
            weight: *weight,
            flows: Flows::Stay,
        };
        weights.iter().enumerate().map(member).collect()
    }
}
