//! Who is out, and until when.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::model::OutlierSettings;

/// A backend that takes no new flows for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// When it began, in milliseconds of the clock of [`Period`](super::Period).
    pub since: u64,
    /// When it ends.
    pub until: u64,
    /// What found the backend, in a word.
    pub detector: &'static str,
    /// What speaks against it, with the numbers.
    pub evidence: String,
    /// Which ejection of this backend it is, as far as earlier ones still count; from 1.
    pub count: u32,
}

/// What is remembered of a backend that was ejected.
#[derive(Clone, Debug, Default)]
struct Record {
    ejection: Option<Ejection>,
    /// Ejections that still count.
    count: u32,
    /// When the count last changed, or the last ejection ended.
    counted_at: u64,
}

/// All ejections of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Ejections {
    records: BTreeMap<IpAddr, Record>,
}

impl Ejections {
    pub(super) fn of(&self, backend: &IpAddr) -> Option<&Ejection> {
        self.records.get(backend)?.ejection.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, &Ejection)> {
        self.records.iter().filter_map(|(backend, record)| {
            record.ejection.as_ref().map(|ejection| (*backend, ejection))
        })
    }

    /// Takes a backend out that is in. Each ejection that still counts makes it longer by as much as
    /// the first one lasts.
    pub(super) fn begin(
        &mut self,
        backend: IpAddr,
        now: u64,
        cause: (&'static str, String),
        settings: &OutlierSettings,
    ) -> &Ejection {
        let record = self.records.entry(backend).or_default();
        record.count = record.count.saturating_add(1);
        let time = millis(settings.base_ejection_time)
            .saturating_mul(u64::from(record.count))
            .min(millis(settings.max_ejection_time));
        record.ejection.insert(Ejection {
            since: now,
            until: now.saturating_add(time),
            detector: cause.0,
            evidence: cause.1,
            count: record.count,
        })
    }

    /// Ends those whose time is over, and forgets one of a backend's for each longest ejection time
    /// that it has been in since. Returns who is back.
    pub(super) fn pass(&mut self, now: u64, settings: &OutlierSettings) -> Vec<(IpAddr, Ejection)> {
        let good = millis(settings.max_ejection_time).max(1);
        let mut back = Vec::new();
        self.records.retain(|backend, record| {
            if let Some(over) = record.ejection.take_if(|ejection| ejection.until <= now) {
                record.counted_at = over.until;
                back.push((*backend, over));
            }
            if record.ejection.is_none() {
                let forgotten = now.saturating_sub(record.counted_at) / good;
                record.count =
                    record.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
                record.counted_at =
                    record.counted_at.saturating_add(forgotten.saturating_mul(good));
            }
            record.ejection.is_some() || record.count > 0
        });
        back
    }

    /// Ends the one that would be over first.
    pub(super) fn end_first(&mut self, now: u64) -> Option<(IpAddr, Ejection)> {
        let (_, first) = self.iter().map(|(backend, ejection)| (ejection.until, backend)).min()?;
        let record = self.records.get_mut(&first)?;
        record.counted_at = now;
        record.ejection.take().map(|ejection| (first, ejection))
    }

    /// Fits those that there are to other settings: none lasts longer than an ejection may, and none
    /// goes on whose `detector` is not looked at any more.
    pub(super) fn refit(&mut self, settings: &OutlierSettings, is_on: impl Fn(&str) -> bool) {
        let most = millis(settings.max_ejection_time);
        for record in self.records.values_mut() {
            if record.ejection.take_if(|ejection| !is_on(ejection.detector)).is_some() {
                record.count = record.count.saturating_sub(1);
            }
            if let Some(ejection) = &mut record.ejection {
                ejection.until = ejection.until.min(ejection.since.saturating_add(most));
            }
        }
        self.records.retain(|_, record| record.ejection.is_some() || record.count > 0);
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(&IpAddr) -> bool) {
        self.records.retain(|backend, _| is_there(backend));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKEND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const USUAL: OutlierSettings = OutlierSettings::USUAL;

    fn eject(ejections: &mut Ejections, now: u64) -> (u64, u32) {
        let ejection = ejections.begin(BACKEND, now, ("rate", String::new()), &USUAL);
        (ejection.until - ejection.since, ejection.count)
    }

    #[test]
    fn each_lasts_longer_up_to_the_longest() {
        let mut ejections = Ejections::default();
        let mut now = 0;
        let mut times = Vec::new();
        for _ in 0..12 {
            let (time, _) = eject(&mut ejections, now);
            times.push(time / 1000);
            now += time;
            assert_eq!(ejections.pass(now - 1, &USUAL), []);
            assert_eq!(ejections.pass(now, &USUAL).len(), 1);
        }
        assert_eq!(times, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    }

    #[test]
    fn good_time_is_counted_from_the_return() {
        let mut ejections = Ejections::default();
        eject(&mut ejections, 0);
        ejections.pass(30_000, &USUAL);
        assert_eq!(eject(&mut ejections, 30_000), (60_000, 2));
        ejections.pass(90_000, &USUAL);
        // 300 s after that, one of the two is forgotten, and another after 300 s more.
        ejections.pass(389_999, &USUAL);
        assert_eq!(ejections.records[&BACKEND].count, 2);
        ejections.pass(390_000, &USUAL);
        ejections.pass(689_999, &USUAL);
        assert_eq!(ejections.records[&BACKEND].count, 1);
        ejections.pass(690_000, &USUAL);
        assert!(ejections.records.is_empty());
    }

    #[test]
    fn a_late_return_does_not_lose_good_time() {
        let mut ejections = Ejections::default();
        eject(&mut ejections, 0);
        assert_eq!(ejections.pass(u64::MAX, &USUAL).len(), 1);
        assert!(ejections.records.is_empty());
    }

    #[test]
    fn other_settings_hold_at_once() {
        let mut ejections = Ejections::default();
        eject(&mut ejections, 1000);
        let short = OutlierSettings { max_ejection_time: Duration::from_secs(5), ..USUAL };
        ejections.refit(&short, |_| true);
        assert_eq!(ejections.of(&BACKEND).expect("still out").until, 6000);
        ejections.refit(&short, |_| false);
        assert!(ejections.records.is_empty());
    }
}
