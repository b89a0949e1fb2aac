//! An address that is watched, and what was said about it.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    finding::Finding,
    reader::Care,
    route::Hop,
    way::{Fault, Way},
};

/// What is known of an address that is watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Where its packets go, if a route leads there.
    pub(super) hop: Option<Hop>,
    /// Where they went when a way was found last.
    known_hop: Option<Hop>,
    reported: Option<Result<Way, Fault>>,
    doubt: Option<Doubt>,
    is_settled: bool,
}

/// A next hop that has not answered yet.
#[derive(Debug)]
struct Doubt {
    since: Instant,
    fault: Fault,
}

/// Shortest time that a next hop has for its answer.
///
/// The kernel gives up a neighbour that it knew when it does not answer at its old hardware
/// address. Asking everybody is the next thing to do, and the answer, from the new one, comes
/// within milliseconds: that is a change of the way, not the loss of it.
const SECOND_CHANCE: Duration = Duration::from_secs(1);

/// Longest time, whatever the kernel is still doing. It gives up after three seconds unless it was
/// configured otherwise, or has no room for another neighbour.
const PATIENCE: Duration = Duration::from_secs(5);

impl Watched {
    /// Takes in what was found; returns what to report, if that is news.
    ///
    /// A next hop that does not answer is reported only when the kernel has asked in vain. Until
    /// then the former way stands.
    pub(super) fn learn(&mut self, finding: Finding, now: Instant) -> Option<Result<Way, Fault>> {
        self.is_settled = matches!(finding, Finding::Way(_));
        if self.is_settled {
            self.known_hop = self.hop;
        }
        if !matches!(finding, Finding::Unanswered { .. }) {
            self.doubt = None;
        }
        let verdict = match finding {
            Finding::Way(way) => Ok(way),
            Finding::Fault(fault) => Err(fault),
            Finding::Unanswered { fault, asked_in_vain } => {
                let waited = now - self.doubt_since(&fault, now);
                if waited < SECOND_CHANCE || (waited < PATIENCE && !asked_in_vain) {
                    return None;
                }
                Err(fault)
            }
            // What was known is the best guess.
            Finding::Unreadable(_) if self.reported.is_some() => return None,
            Finding::Unreadable(reason) => Err(Fault::Unreadable(reason)),
        };
        if self.reported.as_ref() == Some(&verdict) {
            return None;
        }
        self.reported = Some(verdict.clone());
        Some(verdict)
    }

    /// Since when this next hop has not answered.
    fn doubt_since(&mut self, fault: &Fault, now: Instant) -> Instant {
        if self.doubt.as_ref().is_none_or(|doubt| doubt.fault != *fault) {
            self.doubt = Some(Doubt { since: now, fault: fault.clone() });
        }
        self.doubt.as_ref().map_or(now, |doubt| doubt.since)
    }

    /// Whether the last look found a way. If not, the next one need not wait for an event.
    pub(super) const fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// What was reported last.
    pub(super) const fn reported(&self) -> Option<&Result<Way, Fault>> {
        self.reported.as_ref()
    }

    /// The next hop's hardware address if the last look found a way.
    pub(super) fn destination(&self) -> Option<[u8; 6]> {
        let way = self.reported.as_ref()?.as_ref().ok()?;
        self.is_settled.then_some(way.destination)
    }

    /// How hard its next hop is to be asked. One that is known may be slow to answer.
    pub(super) fn care(&self) -> Care {
        match self.reported {
            Some(Ok(_)) if self.hop == self.known_hop => Care::Patient,
            _ => Care::Insistent,
        }
    }

    /// What to say of the address when there is no time to wait for a report.
    pub(super) fn verdict(&self) -> Result<Way, Fault> {
        match (&self.reported, &self.doubt) {
            (Some(reported), _) => reported.clone(),
            (None, Some(doubt)) => Err(doubt.fault.clone()),
            (None, None) => Err(Fault::Unreadable("there was no time to ask".into())),
        }
    }
}

#[cfg(test)]
mod tests;
