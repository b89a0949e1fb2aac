//! Keeps the ways to a set of addresses true.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    io,
    net::IpAddr,
    time::Duration,
};

use rtnetlink::MulticastGroup;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::{
    change::Change,
    events::{BURST, Event, Events},
    finding::Finding,
    reader::{Care, Neighbour, Reader},
    route::Hop,
    watched::Watched,
    way::{Fault, Way, WayEvent},
};

/// Keeps the ways to a set of addresses true.
///
/// Works in rounds. What events touch, what was just added and what is not settled is collected;
/// a round looks at all of it and reports what is new.
#[derive(Debug)]
pub(super) struct Watcher {
    reader: Reader,
    events: Events,
    watched: BTreeMap<IpAddr, Watched>,
    /// Still to do in this round.
    round: BTreeSet<IpAddr>,
    /// For the next round.
    due: BTreeSet<IpAddr>,
    /// When that begins; `None` if nothing is due.
    due_at: Option<Instant>,
    /// Next hops whose hardware addresses are still to be made sure of.
    probes: BTreeSet<Neighbour>,
    /// Next hops that were probed.
    probed: BTreeSet<Neighbour>,
    /// Next hops whose answers are to be there now.
    answers: BTreeSet<Neighbour>,
    /// When next hops are probed, or their answers looked at, next.
    probe_at: Instant,
    retry: Interval,
    look_anyway: Interval,
}

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Time between looks at an address that has no way: a machine that comes up is found in less.
const RETRY: Duration = Duration::from_millis(500);

/// Shortest time between probes of a next hop. Nobody else makes sure of it, because packets that an
/// XDP program sends do not use the kernel's entry: it would be believed for most of a minute.
const PROBE: Duration = Duration::from_millis(500);

/// What each next hop adds to the time between probes if there are many, so that no more than a
/// thousand are probed in a second.
const PROBE_EACH: Duration = Duration::from_millis(1);

/// Time that a next hop has to answer a probe. Whoever is later than that is asked for once more, and
/// loses nothing.
const ANSWER: Duration = Duration::from_millis(300);

/// Time between looks at everything without an event.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

impl Watcher {
    /// Watches nothing yet. `attached` are the names of the interfaces by which packets come in. Must
    /// be called in a runtime.
    pub(super) fn open(attached: BTreeSet<String>) -> io::Result<Self> {
        Ok(Self {
            // First the events, so that no change falls between.
            events: Events::open(&GROUPS)?,
            reader: Reader::open(attached)?,
            watched: BTreeMap::new(),
            round: BTreeSet::new(),
            due: BTreeSet::new(),
            due_at: None,
            probes: BTreeSet::new(),
            probed: BTreeSet::new(),
            answers: BTreeSet::new(),
            probe_at: Instant::now() + PROBE,
            retry: every(RETRY),
            look_anyway: every(LOOK_ANYWAY),
        })
    }

    /// Watches these addresses from now on, and no others.
    pub(super) fn watch(&mut self, addresses: BTreeSet<IpAddr>) {
        self.watched.retain(|address, _| addresses.contains(address));
        self.round.retain(|address| addresses.contains(address));
        self.due.retain(|address| addresses.contains(address));
        for address in addresses {
            if let btree_map::Entry::Vacant(place) = self.watched.entry(address) {
                place.insert(Watched::default());
                self.due.insert(address);
            }
        }
        if !self.due.is_empty() {
            self.due_at = Some(Instant::now());
        }
    }

    /// The next change. Cancel safe.
    pub(super) async fn next(&mut self) -> WayEvent {
        loop {
            match self.try_next().await {
                Ok(event) => return event,
                Err(error) => {
                    tracing::warn!(%error, "the connection to the kernel's tables is lost");
                    sleep(RETRY).await;
                    self.reopen();
                }
            }
        }
    }

    /// Whether something was reported of every address.
    pub(super) fn knows_all(&self) -> bool {
        self.watched.values().all(|watched| watched.reported().is_some())
    }

    /// What is known of every address now.
    pub(super) fn verdicts(&self) -> BTreeMap<IpAddr, Result<Way, Fault>> {
        self.watched.iter().map(|(address, watched)| (*address, watched.verdict())).collect()
    }

    fn reopen(&mut self) {
        let reopened = Events::open(&GROUPS).and_then(|events| {
            self.reader.reopen()?;
            Ok(events)
        });
        // If there is none, the next use of the old one fails, and leads here again.
        if let Ok(events) = reopened {
            self.events = events;
            self.round = self.watched.keys().copied().collect();
        }
    }

    async fn try_next(&mut self) -> io::Result<WayEvent> {
        loop {
            while let Some(address) = self.round.first().copied() {
                let care = self.watched.get(&address).map_or(Care::Patient, Watched::care);
                let (hop, finding) = self.reader.look(address, care).await?;
                self.round.remove(&address);
                if let Some(way) = self.learn(address, hop, finding) {
                    return Ok(WayEvent { address, way });
                }
            }
            while let Some(neighbour) = self.probes.first().copied() {
                self.reader.probe(neighbour).await?;
                self.probes.remove(&neighbour);
            }
            while let Some(neighbour) = self.answers.first().copied() {
                self.reader.ask_if_silent(neighbour).await?;
                self.answers.remove(&neighbour);
            }
            self.collect().await?;
        }
    }

    fn learn(
        &mut self,
        address: IpAddr,
        hop: Option<Hop>,
        finding: Finding,
    ) -> Option<Result<Way, Fault>> {
        let watched = self.watched.get_mut(&address)?;
        watched.hop = hop;
        watched.learn(finding, Instant::now())
    }

    /// Waits for one cause to look again. Cancel safe.
    async fn collect(&mut self) -> io::Result<()> {
        let due_at = self.due_at.unwrap_or_else(Instant::now);
        tokio::select! {
            event = self.events.next() => match event? {
                Event::Lost => self.touch(&Change::Everything),
                Event::Message(message) => {
                    if let Some(change) = Change::of(&message) {
                        self.touch(&change);
                    }
                }
            },
            () = sleep_until(due_at), if self.due_at.is_some() => self.begin_round(),
            _ = self.retry.tick() => {
                let unsettled = self.watched.iter().filter(|(_, watched)| !watched.is_settled());
                self.due.extend(unsettled.map(|(address, _)| *address));
                self.begin_round();
            }
            () = sleep_until(self.probe_at) => self.probe_or_look(),
            _ = self.look_anyway.tick() => {
                self.due.extend(self.watched.keys());
                self.begin_round();
            }
        }
        Ok(())
    }

    /// Begins to probe all next hops, or to look at the answers of those that were probed.
    fn probe_or_look(&mut self) {
        if !self.probed.is_empty() {
            self.answers = std::mem::take(&mut self.probed);
            self.probe_at = Instant::now() + between_probes(self.answers.len()) - ANSWER;
            return;
        }
        let settled = self.watched.values().filter(|watched| watched.is_settled());
        let hops = settled.filter_map(|watched| watched.hop);
        self.probes = hops.map(|hop| (hop.interface, hop.neighbour)).collect();
        self.probed.clone_from(&self.probes);
        self.probe_at = Instant::now() + if self.probed.is_empty() { PROBE } else { ANSWER };
    }

    fn touch(&mut self, change: &Change) {
        let touched = self
            .watched
            .iter()
            .filter(|(address, watched)| {
                change.touches(**address, watched.hop.as_ref(), watched.destination())
            })
            .map(|(address, _)| *address);
        self.due.extend(touched);
        if !self.due.is_empty() && self.due_at.is_none() {
            self.due_at = Some(Instant::now() + BURST);
        }
    }

    fn begin_round(&mut self) {
        self.round = std::mem::take(&mut self.due);
        self.due_at = None;
        self.reader.begin_round();
    }
}

/// Time between probes of each of so many next hops.
fn between_probes(hops: usize) -> Duration {
    PROBE.max(PROBE_EACH * u32::try_from(hops).unwrap_or(u32::MAX))
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_next_hops_are_probed_less_often() {
        for (hops, expected) in [(0, 500), (1, 500), (500, 500), (501, 501), (65_535, 65_535)] {
            assert_eq!(between_probes(hops), Duration::from_millis(expected), "{hops}");
        }
    }
}
