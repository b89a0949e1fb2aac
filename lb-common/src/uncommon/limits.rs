//! How fast a service lets flows begin.

use super::{Beside, Work};
use crate::{packet::Packet, policy::flag, settings::Settings, tables::Tables, verdict::Verdict};

/// Whether one more flow may begin now.
#[inline(always)]
pub(crate) fn admit<T: Tables>(work: &Work, beside: &Beside<'_, T>) -> Result<(), Verdict> {
    let Beside { tables, settings, policy } = beside;
    let index = work.found.table.policy();
    if policy.asks(flag::SOURCE_LIMITED) {
        let source = source(settings, &work.seen.packet, index);
        let buckets = tables.source_buckets((source >> 32) as u32 & settings.source_mask);
        let now = tables.jiffies();
        if !buckets.is_none_or(|set| set.take(source, now, policy.source_limit)) {
            return Err(Verdict::SourceLimited);
        }
    }
    if policy.asks(flag::LIMITED) {
        let now = tables.jiffies();
        if !tables.bucket(index).is_none_or(|bucket| bucket.take(now, policy.limit)) {
            return Err(Verdict::ServiceLimited);
        }
    }
    Ok(())
}

/// Hash of a client within a policy: of an IPv4 address, or an IPv6 /64, which one host can have.
#[inline(always)]
fn source(settings: &Settings, packet: &Packet, policy: u32) -> u64 {
    let [a, b, ..] = packet.client().words();
    let key = &settings.hash_key;
    key.absorb(key.flow(u64::from(policy), u64::from(a)), u64::from(b))
}
