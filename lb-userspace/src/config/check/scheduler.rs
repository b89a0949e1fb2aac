//! `scheduler` and what belongs to it.

use std::time::Duration;

use lb_common::Forward;
use toml::Spanned;

use super::{
    fields::{Checked, duration, fault, number},
    policy::Facts,
};
use crate::{
    config::raw,
    model::{Affinity, Scheduler},
};

const FIELD: &str = "service.scheduler";
const AFFINITY: &str = "service.affinity";

/// Takes a scheduler out of a service.
pub(super) fn scheduler(raw: &mut raw::Service, facts: &Facts) -> Checked<Scheduler> {
    let at = raw.scheduler.take();
    let scheduler = at.as_ref().map_or(Ok(Scheduler::default()), named)?;
    if let Some(at) = &at
        && scheduler == Scheduler::LeastResponseTime
        && facts.forward != Forward::Nat
        && raw.health_check.is_none()
    {
        let message = "only with forward = \"nat\" packets tell how long backends take to answer: \
                       give the service a health_check, or another scheduler";
        return Err(fault(at, FIELD, message));
    }
    match (scheduler, raw.affinity.take()) {
        (Scheduler::SourceHash(_), Some(raw)) => affinity(raw).map(Scheduler::SourceHash),
        (_, Some(raw)) => Err(fault(&raw, AFFINITY, "needs scheduler = \"source-hash\"")),
        (scheduler, None) => Ok(scheduler),
    }
}

fn named(at: &Spanned<String>) -> Checked<Scheduler> {
    let found = Scheduler::NAMES.iter().find(|(name, _)| name == at.get_ref());
    found.map(|(_, scheduler)| *scheduler).ok_or_else(|| {
        let names: Vec<_> =
            Scheduler::NAMES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        fault(at, FIELD, format!("`{}` must be {}", at.get_ref(), names.join(" or ")))
    })
}

fn affinity(raw: Spanned<raw::Affinity>) -> Checked<Affinity> {
    let raw::Affinity { ipv4_prefix, ipv6_prefix, timeout } = raw.into_inner();
    let usual = Affinity::default();
    let prefix = |raw, name, most, usual: u8| {
        let prefix = number(raw, &format!("{AFFINITY}.{name}"), 1, most, u32::from(usual))?;
        Ok(prefix as u8)
    };
    Ok(Affinity {
        ipv4_prefix: prefix(ipv4_prefix, "ipv4_prefix", 32, usual.ipv4_prefix)?,
        ipv6_prefix: prefix(ipv6_prefix, "ipv6_prefix", 128, usual.ipv6_prefix)?,
        timeout: timeout.map(affinity_timeout).transpose()?,
    })
}

fn affinity_timeout(raw: Spanned<String>) -> Checked<Duration> {
    /// The clock of the flow cache comes round a little later.
    const MOST: Duration = Duration::from_secs(4 * 60 * 60);

    let field = &format!("{AFFINITY}.timeout");
    let timeout = duration(Some(raw.clone()), field, Duration::ZERO)?;
    if !(Duration::from_secs(1)..=MOST).contains(&timeout) {
        return Err(fault(&raw, field, "must be from 1s to 4h"));
    }
    Ok(timeout)
}

/// Slots of a service's table; `None` goes by the number of its backends.
pub(super) fn table_slots(raw: Option<Spanned<i64>>) -> Checked<Option<u32>> {
    const SIZES: std::ops::RangeInclusive<u32> = 1024..=1 << 20;

    let Some(raw) = raw else { return Ok(None) };
    let slots = u32::try_from(*raw.get_ref()).ok();
    let slots = slots.filter(|slots| SIZES.contains(slots) && slots.is_power_of_two());
    slots.map(Some).ok_or_else(|| {
        fault(&raw, "service.table_slots", "must be a power of two from 1024 to 1048576")
    })
}
