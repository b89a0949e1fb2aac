//! From what detectors find to who is out and who is lightened.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Detector, Ejection, Finding, Observation, Period, Verdict,
    ejections::Ejections,
    learned::{self, History, Learned},
    rules::{self, Rules},
    stream::{self, Stream},
};
use crate::model::OutlierSettings;

/// What happened to a backend, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The backend.
    pub backend: IpAddr,
    /// What found it, in a word.
    pub detector: &'static str,
    /// What happened.
    pub happening: Happening,
    /// What speaks against it, with the numbers; of one that is back, what did.
    pub evidence: String,
}

/// What may happen to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It takes no new flows.
    Ejected {
        /// Until when, unless the pool shrinks.
        until: u64,
        /// Which ejection it is.
        count: u32,
    },
    /// It would have been ejected, but too many are out already.
    Spared,
    /// Its time is over, or too many were out.
    Returned,
    /// Its weight changed.
    Lightened {
        /// How much of it stays.
        percent: u8,
    },
    /// It has all of its weight again.
    Restored,
}

/// Why a backend has only a part of its weight.
#[derive(Clone, Debug)]
struct Lightness {
    percent: u8,
    detector: &'static str,
    evidence: String,
}

/// The outliers of one service. With settings that look for nothing it does nothing, at no cost.
#[derive(Clone, Debug)]
pub struct Outliers {
    settings: OutlierSettings,
    rules: Option<Rules>,
    stream: Option<Stream>,
    learned: Option<Learned>,
    ejections: Ejections,
    light: BTreeMap<IpAddr, Lightness>,
    /// Who was spared, and when that was last said.
    spared: BTreeMap<IpAddr, u64>,
    /// Who took flows at the end of the last period.
    present: BTreeSet<IpAddr>,
    /// Who did at its beginning as well.
    judged: BTreeSet<IpAddr>,
}

impl Outliers {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: OutlierSettings) -> Self {
        Self {
            settings,
            rules: settings.has_rules().then(|| Rules::new(settings)),
            stream: settings.drift.then(|| Stream::new(settings)),
            learned: settings.learned.then(|| Learned::new(settings)),
            ejections: Ejections::default(),
            light: BTreeMap::new(),
            spared: BTreeMap::new(),
            present: BTreeSet::new(),
            judged: BTreeSet::new(),
        }
    }

    /// Takes other settings. What is known is kept as far as it still means something.
    pub fn set(&mut self, settings: OutlierSettings) {
        if self.settings == settings {
            return;
        }
        let fresh = Self::new(settings);
        let former = std::mem::replace(self, fresh);
        if let (Some(rules), Some(former)) = (&mut self.rules, former.rules) {
            *rules = former.with(settings);
        }
        if let (Some(stream), Some(former)) = (&mut self.stream, former.stream) {
            *stream = former.with(settings);
        }
        if let (Some(learned), Some(former)) = (&mut self.learned, former.learned) {
            *learned = former.with(settings);
        }
        self.ejections = former.ejections;
        self.ejections.refit(&settings, |detector| is_on(&settings, detector));
        self.light = former.light;
        self.light.retain(|_, light| is_on(&settings, light.detector));
        self.present = former.present;
    }

    /// Takes in a period and returns what happened.
    ///
    /// `eligible` are the backends that take flows by all other inputs. Only they are judged, and
    /// they and those that are ejected are the pool of which a share may be ejected.
    pub fn observe(&mut self, period: &Period<'_>, eligible: &BTreeSet<IpAddr>) -> Vec<Suspicion> {
        if self.settings.is_off() {
            return Vec::new();
        }
        let mut happened = self.note(period.now);
        self.judge_only(eligible);
        self.end_excess(period.now, eligible, &mut happened);
        let findings = self.findings(period);
        self.eject(&findings, period.now, self.most_ejected(eligible), &mut happened);
        self.lighten(findings, &mut happened);
        happened
    }

    /// The ejection of a backend that is out.
    #[must_use]
    pub fn ejection(&self, backend: &IpAddr) -> Option<&Ejection> {
        self.ejections.of(backend)
    }

    /// How much of its weight stays with a backend, in percent, and why; `None` if all does, or if
    /// it is ejected.
    #[must_use]
    pub fn factor(&self, backend: &IpAddr) -> Option<(u8, &str)> {
        self.light.get(backend).map(|light| (light.percent, light.evidence.as_str()))
    }

    /// When the first ejection ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.ejections.iter().map(|(_, ejection)| ejection.until).min()
    }

    /// Ends ejections whose time is over, and returns whose. [`Outliers::observe`] does the same.
    pub fn note(&mut self, now: u64) -> Vec<Suspicion> {
        let over = self.ejections.pass(now, &self.settings);
        over.into_iter().map(|(backend, ejection)| returned(backend, ejection)).collect()
    }

    /// Forgets what is held against a backend, not what is usual for it.
    pub fn pardon(&mut self, backend: &IpAddr) {
        self.detectors().for_each(|detector| detector.restart(backend));
        self.ejections.retain(|other| other != backend);
        self.light.remove(backend);
        self.spared.remove(backend);
    }

    /// Forgets backends that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&IpAddr) -> bool) {
        for detector in self.detectors() {
            let mut gone = detector.known();
            gone.retain(|backend| !is_there(backend));
            gone.iter().for_each(|backend| detector.forget(backend));
        }
        self.ejections.retain(&is_there);
        self.light.retain(|backend, _| is_there(backend));
        self.spared.retain(|backend, _| is_there(backend));
        self.present.retain(&is_there);
        self.judged.retain(&is_there);
    }

    /// What was learned of hours of the week, to be kept over a restart; `None` if nothing is.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.learned.as_ref().map(Learned::history)
    }

    /// Takes over what was learned before a restart.
    pub fn learn(&mut self, history: History) {
        if let Some(learned) = &mut self.learned {
            learned.adopt(history);
        }
    }

    /// Those that are on; what comes first is believed first.
    fn detectors(&mut self) -> impl Iterator<Item = &mut dyn Detector> {
        let rules = self.rules.as_mut().map(|rules| rules as &mut dyn Detector);
        let stream = self.stream.as_mut().map(|stream| stream as &mut dyn Detector);
        let learned = self.learned.as_mut().map(|learned| learned as &mut dyn Detector);
        [rules, stream, learned].into_iter().flatten()
    }

    /// Those that are out by any input begin anew when they are back, and nobody is judged by a
    /// period of which it spent a part outside.
    fn judge_only(&mut self, eligible: &BTreeSet<IpAddr>) {
        let is_in = |backend: &&IpAddr| self.ejections.of(backend).is_none();
        let present: BTreeSet<IpAddr> = eligible.iter().filter(is_in).copied().collect();
        let former = std::mem::take(&mut self.present);
        for backend in former.difference(&present) {
            self.restart(backend);
        }
        self.judged = former.intersection(&present).copied().collect();
        self.present = present;
    }

    fn restart(&mut self, backend: &IpAddr) {
        self.detectors().for_each(|detector| detector.restart(backend));
        self.light.remove(backend);
        self.spared.remove(backend);
    }

    /// How many may be ejected of those that are eligible or ejected.
    fn most_ejected(&self, eligible: &BTreeSet<IpAddr>) -> usize {
        let only_ejected =
            self.ejections.iter().filter(|(backend, _)| !eligible.contains(backend)).count();
        self.settings.most_ejected(eligible.len() + only_ejected)
    }

    /// Where backends went by other inputs, more may be ejected than there may be.
    fn end_excess(&mut self, now: u64, eligible: &BTreeSet<IpAddr>, happened: &mut Vec<Suspicion>) {
        while self.ejections.iter().count() > self.most_ejected(eligible)
            && let Some((backend, ejection)) = self.ejections.end_first(now)
        {
            happened.push(returned(backend, ejection));
        }
    }

    fn findings(&mut self, period: &Period<'_>) -> Vec<Finding> {
        let is_judged = |(backend, _): &(&IpAddr, &Observation)| self.judged.contains(*backend);
        let backends: BTreeMap<IpAddr, Observation> = period
            .backends
            .iter()
            .filter(is_judged)
            .map(|(backend, observation)| (*backend, *observation))
            .collect();
        let period = Period { backends: &backends, ..*period };
        self.detectors().flat_map(|detector| detector.observe(&period)).collect()
    }

    /// The least weight that any detector leaves a backend is what it has.
    fn lighten(&mut self, findings: Vec<Finding>, happened: &mut Vec<Suspicion>) {
        let mut light: BTreeMap<IpAddr, Lightness> = BTreeMap::new();
        for Finding { backend, detector, verdict, evidence } in findings {
            let Verdict::Lighten { percent } = verdict else { continue };
            let is_least = light.get(&backend).is_none_or(|known| percent < known.percent);
            if is_least && self.ejections.of(&backend).is_none() {
                light.insert(backend, Lightness { percent, detector, evidence });
            }
        }
        let former = std::mem::replace(&mut self.light, light);
        self.tell_weights(former, happened);
    }

    fn tell_weights(&self, former: BTreeMap<IpAddr, Lightness>, happened: &mut Vec<Suspicion>) {
        for (backend, light) in &self.light {
            if former.get(backend).is_none_or(|before| before.percent != light.percent) {
                happened.push(Suspicion {
                    backend: *backend,
                    detector: light.detector,
                    happening: Happening::Lightened { percent: light.percent },
                    evidence: light.evidence.clone(),
                });
            }
        }
        for (backend, before) in former {
            if !self.light.contains_key(&backend) {
                happened.push(Suspicion {
                    backend,
                    detector: before.detector,
                    happening: Happening::Restored,
                    evidence: before.evidence,
                });
            }
        }
    }

    fn eject(
        &mut self,
        findings: &[Finding],
        now: u64,
        most: usize,
        happened: &mut Vec<Suspicion>,
    ) {
        for finding in findings {
            let Finding { backend, detector, verdict, ref evidence } = *finding;
            if verdict != Verdict::Eject || self.ejections.of(&backend).is_some() {
                continue;
            }
            let happening = if self.ejections.iter().count() < most {
                let cause = (detector, evidence.clone());
                let ejection = self.ejections.begin(backend, now, cause, &self.settings);
                let (until, count) = (ejection.until, ejection.count);
                self.present.remove(&backend);
                self.restart(&backend);
                Happening::Ejected { until, count }
            } else if self.is_worth_saying(backend, now) {
                Happening::Spared
            } else {
                continue;
            };
            let evidence = evidence.clone();
            happened.push(Suspicion { backend, detector, happening, evidence });
        }
    }

    /// Whether it was not said for as long as an ejection would have taken that a backend is spared.
    fn is_worth_saying(&mut self, backend: IpAddr, now: u64) -> bool {
        let often = self.settings.base_ejection_time.as_millis();
        let is_new = |said: &u64| u128::from(now.saturating_sub(*said)) >= often;
        let is_worth = self.spared.get(&backend).is_none_or(is_new);
        if is_worth {
            self.spared.insert(backend, now);
        }
        is_worth
    }
}

fn returned(backend: IpAddr, ejection: Ejection) -> Suspicion {
    let Ejection { detector, evidence, .. } = ejection;
    Suspicion { backend, detector, happening: Happening::Returned, evidence }
}

/// Whether these settings look for what a detector finds.
fn is_on(settings: &OutlierSettings, detector: &str) -> bool {
    match detector {
        rules::CONSECUTIVE => settings.consecutive_failures > 0,
        rules::RATE => settings.failure_rate > 0,
        rules::LATENCY => settings.latency_factor > 0,
        stream::DRIFT => settings.drift,
        learned::LEARNED => settings.learned,
        _ => false,
    }
}
