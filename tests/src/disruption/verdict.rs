//! What came of a scenario, and whether it is what was promised.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use super::{
    report::{Count, Event, Kind},
    scenario::{Backend, Expectations, Scenario},
};

/// What came of a scenario.
#[derive(Debug)]
pub struct Verdict {
    /// Connections and UDP flows that were held.
    pub flows: u64,
    /// The client's last counts.
    pub count: Count,
    /// The steps with the milliseconds from the start at which each was done.
    pub done: Vec<(u64, String)>,
    /// Flows that broke though they must not.
    pub broken: Vec<Event>,
    /// Flows that changed their backend though they must not.
    pub misrouted: Vec<Event>,
    /// Flows of removed and killed backends that did either.
    pub excused: u64,
    /// Flows that waited longest for an answer, the worst for each step before.
    pub late: Vec<Event>,
    /// Resets by the kernels of backends.
    pub strangers: u64,
    /// The time of the client's clock at which the first step's clock began.
    pub started_ms: u64,
    /// Notes of what took part.
    pub notes: Vec<String>,
    /// What is not as it was promised; nothing, if all is well.
    pub violations: Vec<String>,
}

/// What was done, for the judgement.
pub(super) struct Record {
    pub(super) started_ms: u64,
    /// When each step began, in the client's clock, and what it was.
    pub(super) done: Vec<(u64, String)>,
    /// From when to when flows of these backends were given up.
    pub(super) victims: Vec<(RangeInclusive<u64>, Backend)>,
    pub(super) strangers: u64,
    pub(super) notes: Vec<String>,
}

impl Verdict {
    pub(super) fn of(scenario: &Scenario, record: Record, events: &[Event], count: Count) -> Self {
        let excuses = Excuses::of(scenario, &record);
        let (excused, charged): (Vec<_>, Vec<_>) = events
            .iter()
            .filter(|event| matches!(event.kind, Kind::Broken | Kind::Misrouted))
            .cloned()
            .partition(|event| excuses.cover(event));
        let (broken, misrouted) =
            charged.into_iter().partition(|event: &Event| event.kind == Kind::Broken);
        let since = |at: u64| at.saturating_sub(record.started_ms);
        let mut verdict = Self {
            flows: u64::from(scenario.settings.connections) + u64::from(scenario.settings.udp),
            count,
            done: record.done.iter().map(|(at, what)| (since(*at), what.clone())).collect(),
            broken,
            misrouted,
            excused: excused.len() as u64,
            late: Vec::new(),
            strangers: record.strangers,
            started_ms: record.started_ms,
            notes: record.notes,
            violations: Vec::new(),
        };
        verdict.late = verdict.worst(events.iter().filter(|event| event.kind == Kind::Stalled));
        verdict.violations = verdict.beyond(&scenario.expectations);
        verdict
    }

    /// Whether everything that was promised has been kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// When the first thing happened that must not, in the scenario's time.
    #[must_use]
    pub fn first_violation(&self) -> Option<Duration> {
        let events = self.broken.iter().chain(&self.misrouted);
        let first = events.map(|event| event.at_ms.saturating_sub(self.started_ms)).min();
        first.map(Duration::from_millis)
    }

    fn beyond(&self, expected: &Expectations) -> Vec<String> {
        let wait = expected.wait.map(|wait| wait.as_millis() as u64);
        let counts = [
            ("broken", self.broken.len() as u64, Some(expected.broken)),
            ("misrouted", self.misrouted.len() as u64, Some(expected.misrouted)),
            ("unopened", self.count.unopened, expected.unopened),
            ("strangers", self.strangers, expected.strangers),
            ("longest wait in ms", self.count.longest_wait_ms, wait),
        ];
        let mut violations: Vec<_> = counts
            .into_iter()
            .filter_map(|(what, found, most)| {
                most.filter(|most| found > *most)
                    .map(|most| format!("{what}: {found}, and at most {most} is promised"))
            })
            .collect();
        if self.count.answered == 0 && self.flows > 0 {
            violations.push("no question was answered: nothing was tried".into());
        }
        violations
    }

    /// The longest waits, one for each step that was done before they began.
    fn worst<'a>(&self, late: impl Iterator<Item = &'a Event>) -> Vec<Event> {
        let mut worst = BTreeMap::<_, &Event>::new();
        for event in late {
            let kept = worst.entry(self.step_before(event.began_ms()).to_owned()).or_insert(event);
            if event.waited_ms > kept.waited_ms {
                *kept = event;
            }
        }
        let mut events: Vec<_> = worst.into_values().cloned().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.waited_ms));
        events
    }

    /// The step that was last begun before a time of the client's clock.
    fn step_before(&self, at_ms: u64) -> &str {
        let at = at_ms.saturating_sub(self.started_ms);
        let before = self.done.iter().rev().find(|(done, _)| *done <= at);
        before.map_or("the start", |(_, what)| what)
    }
}

/// Which flows may break or change their backend.
struct Excuses<'a> {
    scenario: &'a Scenario,
    victims: BTreeMap<String, Vec<RangeInclusive<u64>>>,
}

impl<'a> Excuses<'a> {
    fn of(scenario: &'a Scenario, record: &Record) -> Self {
        let mut victims = BTreeMap::<_, Vec<_>>::new();
        for (time, backend) in &record.victims {
            victims.entry(backend.to_string()).or_default().push(time.clone());
        }
        Self { scenario, victims }
    }

    /// Only flows from before the end of a removal are given up by it: the backend may return.
    fn cover(&self, event: &Event) -> bool {
        let Some(backend) = &event.backend else {
            return false;
        };
        let is_given_up = |time: &RangeInclusive<u64>| {
            event.opened_ms <= *time.end() && event.at_ms >= *time.start()
        };
        self.victims.get(backend).is_some_and(|times| times.iter().any(is_given_up))
            || self.scenario.settings.may_break.iter().any(|name| name.to_string() == *backend)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = &self.count;
        writeln!(
            f,
            "flows {}  answers {}  lost datagrams {}  new {} opened, {} not",
            self.flows, count.answered, count.lost, count.opened, count.unopened
        )?;
        writeln!(
            f,
            "broken {}  misrouted {}  excused {}  late {}  longest wait {} ms (own lag {} ms)  \
             resets by backends {}",
            self.broken.len(),
            self.misrouted.len(),
            self.excused,
            count.stalled,
            count.longest_wait_ms,
            count.own_lag_ms,
            self.strangers,
        )?;
        for event in self.late.iter().take(EXAMPLES) {
            let step = self.step_before(event.began_ms());
            writeln!(f, "  waited {} ms, after `{step}`", event.waited_ms)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        for events in [&self.broken, &self.misrouted] {
            for event in events.iter().take(EXAMPLES) {
                let at = event.at_ms.saturating_sub(self.started_ms);
                let step = self.step_before(event.at_ms);
                writeln!(f, "  {at:>7} ms, after `{step}`: {event}")?;
            }
            if events.len() > EXAMPLES {
                writeln!(f, "  and {} more", events.len() - EXAMPLES)?;
            }
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "NOT KEPT: {violation}"))
    }
}

const EXAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disruption::{
        Size,
        report::Protocol,
        scenario::{Settings, parse},
    };

    /// A connection to be1, opened at 100 and broken at 300.
    fn broken() -> Event {
        Event {
            kind: Kind::Broken,
            at_ms: 300,
            opened_ms: 100,
            protocol: Protocol::Tcp,
            local: "10.0.0.2:1000".parse().unwrap(),
            backend: Some("be1".into()),
            stranger: None,
            answered: Some(7),
            waited_ms: 10,
            detail: "reset".into(),
        }
    }

    fn verdict(text: &str, victims: &[(u64, u8)], events: &[Event], count: Count) -> Verdict {
        let scenario = parse("here", text, Size::Full).unwrap();
        let record = Record {
            started_ms: 50,
            done: vec![(250, "crash".into())],
            victims: victims.iter().map(|(at, number)| (*at..=at + 10, Backend(*number))).collect(),
            strangers: 2,
            notes: Vec::new(),
        };
        Verdict::of(&scenario, record, events, count)
    }

    fn answered() -> Count {
        Count { answered: 1, longest_wait_ms: 700, unopened: 3, ..Count::default() }
    }

    #[test]
    fn what_breaks_is_no_violation_if_its_backend_was_given_up_meanwhile() {
        for (victims, is_good) in [
            (&[][..], false),
            (&[(200, 1)], true),
            (&[(200, 2)], false),
            // Opened while it was given up.
            (&[(95, 1)], true),
            // Before the flow was opened: the backend was back.
            (&[(80, 1)], false),
            (&[(310, 1)], false),
        ] {
            let verdict = verdict("", victims, &[broken()], answered());
            assert_eq!(verdict.is_good(), is_good, "{victims:?}: {verdict}");
            assert_eq!(verdict.excused, u64::from(is_good));
        }
        assert!(verdict("may-break be1", &[], &[broken()], answered()).is_good());
    }

    #[test]
    fn a_violation_tells_when_and_after_what() {
        let verdict = verdict("", &[], &[broken()], answered());
        assert_eq!(verdict.first_violation(), Some(Duration::from_millis(250)));
        let told = verdict.to_string();
        assert!(told.contains("250 ms, after `crash`: broken tcp 10.0.0.2:1000 at be1"), "{told}");
        assert!(told.contains("NOT KEPT: broken: 1"), "{told}");
    }

    #[test]
    fn only_what_is_expected_is_judged() {
        for (text, violations) in [
            ("", 0),
            ("expect unopened 3 strangers 2 wait 700ms", 0),
            ("expect unopened 2 strangers 1 wait 699ms", 3),
        ] {
            let verdict = verdict(text, &[], &[], answered());
            assert_eq!(verdict.violations.len(), violations, "{text}: {verdict}");
        }
        // Late is not broken.
        let late = Event { kind: Kind::Stalled, ..broken() };
        assert!(verdict("", &[], &[late], answered()).is_good());
    }

    #[test]
    fn a_trial_without_an_answer_proves_nothing() {
        assert!(Settings::default().connections > 0);
        assert!(!verdict("", &[], &[], Count::default()).is_good());
    }
}
