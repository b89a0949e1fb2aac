//! What happened lately, numbered, and those who want to hear what happens next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::sync::broadcast;

use crate::{
    api::protocol::VERSION,
    event::{Event, EventKind, Told, Wanted},
};

/// Events that are kept, and that a follower may lag behind.
const KEPT: usize = 1000;
/// Those who may follow at a time.
const FOLLOWERS: usize = 64;

/// The last events of one life of the daemon.
#[derive(Debug)]
pub(crate) struct Journal {
    epoch: u64,
    /// Number of the last event.
    last: u64,
    kept: VecDeque<Arc<Told>>,
    followers: broadcast::Sender<Arc<Told>>,
    counts: BTreeMap<EventKind, u64>,
}

/// So many follow that there is room for no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FOLLOWERS} follow the events already, and no more may: end one of them")]
pub(crate) struct TooManyFollowers;

/// What is kept of what somebody asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Which life of the daemon this is.
    pub(crate) epoch: u64,
    /// Number of the last event of all.
    pub(crate) last: u64,
    /// Events, wanted or not, that would have belonged here but are not kept any more.
    pub(crate) lost: u64,
    /// The oldest first.
    pub(crate) events: Vec<Told>,
}

impl Journal {
    /// Begins a life, at a time in milliseconds since 1970.
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last: 0,
            kept: VecDeque::with_capacity(KEPT),
            followers: broadcast::Sender::new(KEPT),
            counts: BTreeMap::new(),
        }
    }

    /// Numbers an event, keeps it and gives it to those who follow. Never waits for them.
    pub(crate) fn add(&mut self, event: Event, time_milliseconds: u64) -> Arc<Told> {
        *self.counts.entry(event.kind).or_default() += 1;
        self.last += 1;
        let told = Told {
            version: VERSION,
            epoch: self.epoch,
            sequence: self.last,
            time_milliseconds,
            event,
        };
        let told = Arc::new(told);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::clone(&told));
        // Mostly nobody follows.
        let _ = self.followers.send(Arc::clone(&told));
        told
    }

    /// What is kept after an event with this number. One that there has not been yet is of another
    /// life: then it is all that is kept.
    pub(crate) fn backlog(&self, after: Option<u64>, wanted: &Wanted) -> Backlog {
        let after = after.filter(|after| *after <= self.last).unwrap_or(0);
        let first = self.last - self.kept.len() as u64 + 1;
        let skipped = (after + 1).saturating_sub(first) as usize;
        let events = self.kept.iter().skip(skipped).filter(|told| wanted.includes(&told.event));
        Backlog {
            epoch: self.epoch,
            last: self.last,
            lost: first.saturating_sub(after + 1),
            events: events.map(|told| Told::clone(told)).collect(),
        }
    }

    /// Gives somebody what happens from now on, wanted or not.
    pub(crate) fn follow(&self) -> Result<broadcast::Receiver<Arc<Told>>, TooManyFollowers> {
        if self.followers.receiver_count() >= FOLLOWERS {
            return Err(TooManyFollowers);
        }
        Ok(self.followers.subscribe())
    }

    /// How many there were of each kind.
    pub(crate) fn counts(&self) -> Vec<(EventKind, u64)> {
        let count = |kind| (kind, self.counts.get(&kind).copied().unwrap_or_default());
        EventKind::ALL.into_iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    fn event(service: &str) -> Event {
        Event {
            kind: EventKind::Panic,
            service: Some(service.parse().expect("a name")),
            backend: None,
            from: None,
            to: None,
            reason: String::new(),
        }
    }

    fn sequences(backlog: &Backlog) -> Vec<u64> {
        backlog.events.iter().map(|told| told.sequence).collect()
    }

    #[test]
    fn events_are_numbered_from_one() {
        let mut journal = Journal::new(7);
        assert_eq!(journal.backlog(None, &Wanted::default()).events, []);
        for _ in 0..3 {
            journal.add(event("web"), 9);
        }
        let backlog = journal.backlog(None, &Wanted::default());
        assert_eq!((sequences(&backlog), backlog.last, backlog.lost), (vec![1, 2, 3], 3, 0));
        assert_eq!((backlog.events[0].epoch, backlog.events[0].time_milliseconds), (7, 9));
        assert_eq!(sequences(&journal.backlog(Some(2), &Wanted::default())), [3]);
        assert_eq!(sequences(&journal.backlog(Some(3), &Wanted::default())), [0; 0]);
        // Of a former life.
        assert_eq!(sequences(&journal.backlog(Some(4), &Wanted::default())), [1, 2, 3]);
        assert_eq!(journal.counts()[4], (EventKind::Panic, 3));
    }

    #[test]
    fn the_last_thousand_are_kept_and_who_missed_some_is_told() {
        let mut journal = Journal::new(7);
        for _ in 0..1005 {
            journal.add(event("web"), 9);
        }
        let all = journal.backlog(None, &Wanted::default());
        assert_eq!((all.events.len(), all.events[0].sequence, all.lost), (1000, 6, 5));
        let lost = |after| journal.backlog(Some(after), &Wanted::default()).lost;
        assert_eq!([lost(0), lost(4), lost(5), lost(1005)], [5, 1, 0, 0]);
        let last = journal.backlog(Some(1004), &Wanted::default());
        assert_eq!(sequences(&last), [1005]);
    }

    #[test]
    fn only_what_is_wanted_is_given() {
        let mut journal = Journal::new(7);
        for service in ["web", "dns", "web"] {
            journal.add(event(service), 9);
        }
        let wanted = Wanted { service: Some("web".parse().expect("a name")), backend: None };
        assert_eq!(sequences(&journal.backlog(None, &wanted)), [1, 3]);
        assert_eq!(sequences(&journal.backlog(Some(1), &wanted)), [3]);
    }

    #[test]
    fn followers_are_bounded_and_never_waited_for() {
        let mut journal = Journal::new(7);
        let mut followers: Vec<_> = (0..64).map(|_| journal.follow().expect("room")).collect();
        assert_eq!(journal.follow().err(), Some(TooManyFollowers));
        drop(followers.pop());
        let mut follower = journal.follow().expect("room again");
        for _ in 0..=1024 {
            journal.add(event("web"), 9);
        }
        assert_eq!(follower.try_recv().err(), Some(TryRecvError::Lagged(1)));
    }
}
