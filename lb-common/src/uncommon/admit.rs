//! The first step: which service a packet is for, and whether that takes it.

use super::{Step, Work};
use crate::{
    balance, find, fragment,
    frame::Frame,
    packet::Kind,
    policy::{Policy, flag},
    reply::Reply,
    service::{ServiceKey, TCP, UDP},
    settings::{Settings, feature},
    tables::Tables,
    verdict::Verdict,
};

/// Finds the service. What is wrong with a packet matters only once it is for one.
#[inline(always)]
pub(super) fn admit<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &F,
    tables: &T,
    settings: &Settings,
) -> Step {
    let key = match key(work, tables, settings) {
        Ok(key) => key,
        Err(step) => return step,
    };
    let found = find::any(tables, settings, &key);
    work.found = found;
    if !found.table.is_present() {
        return other(settings, Verdict::NotService);
    }
    if let Some(flaw) = work.flaw(frame) {
        return Step::Done(flaw);
    }
    let policy = tables.policy(found.table.policy()).unwrap_or(&Policy::NONE);
    if !is_allowed(work, tables, policy) {
        return Step::Done(Verdict::SourceDenied);
    }
    if let Kind::FirstFragment(id) = work.seen.kind {
        fragment::remember(tables, settings, &work.seen, id);
    }
    work.flow = balance::flow(settings, policy, &work.seen.packet, &found);
    if policy.asks(flag::NAT) { Step::Request } else { Step::Choose }
}

/// The key to look a packet's service up with, or what becomes of the packet without one.
#[inline(always)]
fn key<T: Tables>(work: &mut Work, tables: &T, settings: &Settings) -> Result<ServiceKey, Step> {
    match work.seen.kind {
        Kind::LaterFragment(id) => {
            work.seen.packet = fragment::matched(tables, settings, &work.seen, id)?;
            Ok(work.seen.packet.key)
        }
        Kind::Echo => echo_key(work, tables, settings),
        Kind::EchoReply => Err(other(settings, Verdict::NotTransport)),
        Kind::Error { .. } if !is_segment(&work.seen.packet.key) => {
            let key = work.seen.packet.key;
            match find::address(tables, settings, &key).default_service() {
                Some((port, protocol)) => Ok(key.at(port, protocol)),
                None => Err(other(settings, Verdict::NotTransport)),
            }
        }
        _ => Ok(work.seen.packet.key),
    }
}

/// What becomes of a packet that is for no service.
#[inline(always)]
const fn other(settings: &Settings, verdict: Verdict) -> Step {
    let may_be_answer = settings.features & feature::NAT != 0;
    if may_be_answer { Step::Answer } else { Step::Done(verdict) }
}

#[inline(always)]
const fn is_segment(key: &ServiceKey) -> bool {
    matches!(key.protocol(), TCP | UDP)
}

/// The key of the service that an echo request goes to, unless it is answered here.
#[inline(always)]
fn echo_key<T: Tables>(
    work: &mut Work,
    tables: &T,
    settings: &Settings,
) -> Result<ServiceKey, Step> {
    let key = work.seen.packet.key;
    let entry = find::address(tables, settings, &key);
    match entry.default_service() {
        Some((port, protocol)) => Ok(key.at(port, protocol)),
        None if entry.answers() => Err(work.tell(Reply::ECHO)),
        None => Err(Step::Done(Verdict::NotTransport)),
    }
}

/// Whether the service allows the packet's source. An ICMP error comes from whoever met it: the
/// flow that it quotes counts.
#[inline(always)]
fn is_allowed<T: Tables>(work: &Work, tables: &T, policy: &Policy) -> bool {
    if !policy.asks(flag::RULES) {
        return true;
    }
    let rule = tables.source_rule(work.found.table.policy(), &work.seen.packet.client());
    rule.unwrap_or(!policy.asks(flag::DENY_OTHERS))
}
