//! The port that a translated flow shows to its backend.
//!
//! A port is free if the entry of its answers can be added. One that is taken is taken over if its
//! flow has been silent for too long: nat goes on while no daemon removes what is over.

use super::{
    DEFAULT_PORTS, Tuple,
    open::{entry, translated},
    ticks::Ticks,
};
use crate::{
    frame::Frame,
    packet::Packet,
    policy::{Policy, Scheduler, flag},
    service::TCP,
    settings::Settings,
    tables::{NotAdded, Tables},
    uncommon::{Beside, Step, Work},
    verdict::Verdict,
};

/// Ports that are tried before a flow is dropped. A range of so many is used to its last port. Of
/// 31,744 ports no flow finds none while 70 % are taken, one in 400 at 80 to 85 %, and one in ten at
/// 90 to 95 % (the test below).
const MOST_PROBES: u32 = 32;
/// Steps that this takes at most: room is made once for each port, or another processor is taking
/// them all.
pub const MOST_STEPS: u32 = 2 * MOST_PROBES;

/// Tries one port for a flow, by adding the entry of its answers: one a step, since the verifier
/// would follow a loop here into each of its rounds.
#[inline(always)]
pub(crate) fn take_port<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Step {
    let Beside { tables, settings, policy } = beside;
    let Some(backend) = tables.backend(work.backend) else {
        return Verdict::NoBackend.into();
    };
    let range = Range::of(policy);
    let port = range.port(work.flow, work.probes);
    // Made twice, not kept: the kernel counts the stack of the whole chain of calls.
    let request = || Tuple::of_request(&work.seen.packet);
    let key = translated(&request(), backend, port).reversed();
    let added = {
        let answer = entry(work, *tables, frame, request().reversed(), (!work.delta, 0));
        if is_timed(policy, &work.seen.packet) {
            answer.begin_timing(tables.nanoseconds());
        }
        tables.add_translation(&key, &answer)
    };
    match added {
        Ok(()) => {
            work.port = port;
            Step::Enter
        }
        // The same port once more. In a full table, too, that makes room.
        Err(_) if make_room(*tables, settings, &key) => Step::TakePort,
        Err(refused) => next(work, &range, refused),
    }
}

/// Whether somebody asks how long the first answer to a packet takes. The other answers of its flow
/// stay as they are: only this one leaves the short way.
#[inline(always)]
const fn is_timed(policy: &Policy, packet: &Packet) -> bool {
    matches!(policy.scheduler(), Scheduler::LeastTime)
        || policy.asks(flag::WATCHED) && packet.key.protocol() == TCP
}

/// What follows a port that was not to be had.
#[inline(always)]
fn next(work: &mut Work, range: &Range, refused: NotAdded) -> Step {
    work.is_full |= matches!(refused, NotAdded::Full);
    work.probes += 1;
    if work.probes < MOST_PROBES && work.probes < range.count {
        return Step::TakePort;
    }
    let verdict = if work.is_full { Verdict::NatTableFull } else { Verdict::NatPortsExhausted };
    Step::Done(verdict)
}

/// The ports of a policy's flows.
struct Range {
    first: u32,
    count: u32,
}

impl Range {
    #[inline(always)]
    fn of(policy: &Policy) -> Self {
        let ports = if policy.nat_ports == 0 { DEFAULT_PORTS } else { policy.nat_ports };
        let (first, last) = (ports & 0xffff, ports >> 16);
        // A range that ends before it begins has its first port alone.
        Self { first, count: if last < first { 1 } else { last - first + 1 } }
    }

    /// The port that a flow tries after so many others, fewer than there are.
    ///
    /// A small range is tried in a row, from the port on that the flow's hash names. In a large one
    /// rows would grow together and end searches early, so each try hashes anew.
    #[inline(always)]
    fn port(&self, flow: u64, probes: u32) -> u16 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

        let within = |hash: u64| ((hash >> 32).wrapping_mul(u64::from(self.count)) >> 32) as u32;
        let offset = if self.count <= MOST_PROBES {
            let offset = within(flow) + probes;
            if offset >= self.count { offset - self.count } else { offset }
        } else {
            within((flow ^ flow << 32).wrapping_mul(GOLDEN.wrapping_mul(u64::from(2 * probes + 1))))
        };
        (self.first + offset) as u16
    }
}

/// Removes the flow whose answers have this key, if it is over. Another processor may do so at the
/// same moment, and remove what has just been added here: such a flow has half of its entries, and
/// begins anew.
#[inline(always)]
fn make_room<T: Tables>(tables: &T, settings: &Settings, key: &Tuple) -> bool {
    let Some(answer) = tables.translation(key) else { return false };
    let ticks = Ticks { now: tables.now(), hz: settings.hz };
    let there = answer.tuple.reversed();
    match tables.translation(&there) {
        Some(request) if request.tuple.is_reverse_of(key) => {
            if !ticks.is_over(request, answer) {
                return false;
            }
            // The request's first: a packet that still comes begins the flow anew.
            tables.remove_translation(&there);
        }
        // Another processor may be about to add the request's.
        _ if !ticks.is_silent(answer) => return false,
        _ => {}
    }
    tables.remove_translation(key);
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::hash::spread;

    /// Flows that begin while so large a part of the ports is taken, and those of them that find none.
    fn refused(range: &Range, from: f64, to: f64) -> (u32, u32) {
        let mut taken = BTreeSet::new();
        let (mut begun, mut refused) = (0, 0);
        for number in 0.. {
            let load = taken.len() as f64 / f64::from(range.count);
            if load >= to {
                break;
            }
            let flow = spread(number);
            let is_entered = (0..MOST_PROBES).any(|probes| taken.insert(range.port(flow, probes)));
            if load >= from {
                begun += 1;
                refused += u32::from(!is_entered);
            }
        }
        (begun, refused)
    }

    #[test]
    #[cfg_attr(miri, ignore = "statistics")]
    fn most_flows_find_one_of_the_last_ports() {
        let range = Range { first: 1024, count: 31_744 };
        for (from, to, most) in [(0.0, 0.7, 0.0001), (0.8, 0.85, 0.004), (0.9, 0.95, 0.12)] {
            let (begun, refused) = refused(&range, from, to);
            let share = f64::from(refused) / f64::from(begun);
            assert!(share <= most, "{from} to {to}: {refused} of {begun}");
        }
    }

    #[test]
    fn ports_stay_within_their_range_and_a_small_one_is_tried_whole() {
        for count in [1, 2, 31, 32, 33, 64_512] {
            let range = Range { first: 1024, count };
            for number in 0..100 {
                let ports =
                    (0..MOST_PROBES.min(count)).map(|probes| range.port(spread(number), probes));
                let ports: BTreeSet<u16> = ports.collect();
                assert!(ports.iter().all(|port| (1024..1024 + count).contains(&u32::from(*port))));
                assert!(count > MOST_PROBES || ports.len() == count as usize, "{count}");
            }
        }
    }
}
