//! How many are out, for how long, and that nothing that is seen can break it.

use proptest::prelude::*;

use super::*;

const DEAD: Shape = Shape { failing: 1.0, ..HEALTHY };

#[test]
fn nothing_happens_where_nothing_is_asked() {
    let mut pool = Pool::new(10, OutlierSettings::OFF);
    assert_eq!(pool.pass_many(100, only_first(DEAD)), []);
    assert_eq!(pool.outliers.next_deadline(), None);
}

#[test]
fn all_that_fail_at_once_stay() {
    let mut pool = Pool::new(10, ALL);
    pool.pass_many(200, |_| HEALTHY);
    for _ in 0..1000 {
        pool.pass(|_| DEAD);
        assert_eq!(pool.ejected(), 0);
    }
}

#[test]
fn no_more_than_the_share_and_the_rest_is_spared() {
    let mut pool = Pool::new(20, ONLY_RULES);
    pool.pass_many(20, |_| HEALTHY);
    let some = |number| if number < 5 { DEAD } else { HEALTHY };
    let happened = pool.pass_many(20, some);
    assert_eq!(pool.ejected(), 2);
    let spared: BTreeSet<IpAddr> = happened
        .iter()
        .filter(|suspicion| suspicion.happening == Happening::Spared)
        .map(|suspicion| suspicion.backend)
        .collect();
    assert_eq!(spared.len(), 3, "{happened:?}");
    let count = |what| happened.iter().filter(|one| one.happening == what).count();
    assert_eq!(count(Happening::Spared), 3, "said once");
}

#[test]
fn drift_that_is_spared_leaves_the_least_weight() {
    let mut pool = Pool::new(10, OutlierSettings { max_ejected: 0, ..OutlierSettings::USUAL });
    pool.pass_many(600, |_| HEALTHY);
    pool.pass_many(60, only_first(Shape { failing: 0.7, ..HEALTHY }));
    assert_eq!(pool.ejected(), 0);
    assert_eq!(pool.outliers.factor(&backend(0)).expect("lightened").0, 25);
}

#[test]
fn a_pool_that_shrinks_gets_its_ejected_back() {
    let mut pool = Pool::new(20, ONLY_RULES);
    pool.pass_many(20, |_| HEALTHY);
    pool.pass_many(10, |number| if number < 2 { DEAD } else { HEALTHY });
    assert_eq!(pool.ejected(), 2);
    let first = pool.outliers.next_deadline().expect("two");
    pool.eligible = (0..12).map(backend).collect();
    let happened = pool.pass(|_| HEALTHY);
    let [returned] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!(returned.happening, Happening::Returned);
    assert!(pool.outliers.next_deadline().expect("one") >= first);
    pool.eligible = (0..2).map(backend).collect();
    pool.pass(|_| HEALTHY);
    assert_eq!(pool.ejected(), 0, "one of two would be half");
}

#[test]
fn ejections_end_at_their_deadline() {
    let mut pool = Pool::new(3, ONLY_RULES);
    pool.pass_many(20, |_| HEALTHY);
    pool.until(5, only_first(DEAD));
    let ejection = pool.outliers.ejection(&backend(0)).expect("out").clone();
    assert_eq!(ejection.until, ejection.since + 30_000);
    assert_eq!(pool.outliers.next_deadline(), Some(ejection.until));
    assert_eq!(pool.outliers.note(ejection.until - 1), []);
    assert_eq!(pool.outliers.note(ejection.until).len(), 1);
    assert_eq!(pool.outliers.ejection(&backend(0)), None);
}

#[test]
fn a_reload_keeps_what_still_means_something() {
    let mut pool = Pool::new(10, OutlierSettings::USUAL);
    pool.pass_many(400, |_| HEALTHY);
    pool.pass_many(5, only_first(DEAD));
    assert_eq!(pool.ejected(), 1);
    pool.outliers.set(OutlierSettings { failure_rate: 40, ..OutlierSettings::USUAL });
    assert_eq!(pool.ejected(), 1);
    // The past was not lost: drift says nothing in its first minutes.
    let happened = pool.pass_many(60, |number| match number {
        1 => Shape { latency: 0.045, ..HEALTHY },
        _ => HEALTHY,
    });
    assert!(happened.iter().any(|one| one.backend == backend(1)), "{happened:?}");
    pool.outliers.set(OutlierSettings { drift: true, ..OutlierSettings::OFF });
    assert_eq!(pool.ejected(), 0, "nobody looks for failures in a row any more");
    assert!(pool.outliers.factor(&backend(1)).is_some());
    pool.outliers.set(OutlierSettings::OFF);
    assert!(pool.outliers.factor(&backend(1)).is_none());
}

#[test]
fn one_that_is_pardoned_is_back_and_what_was_learned_of_it_stays() {
    let mut pool = Pool::new(10, ALL);
    pool.hour = 70;
    pool.pass_many(100, |_| HEALTHY);
    pool.pass_many(5, only_first(DEAD));
    assert_eq!(pool.ejected(), 1);
    let learned = |pool: &Pool| serde_json::to_value(pool.outliers.history()).expect("JSON");
    let before = learned(&pool);
    assert!(before["10.0.0.0"].is_object(), "{before}");
    pool.outliers.pardon(&backend(0));
    assert_eq!(pool.ejected(), 0);
    assert_eq!(learned(&pool), before);
    assert_eq!(pool.pass_many(4, |_| HEALTHY), []);
}

#[test]
fn those_that_are_gone_are_forgotten() {
    let mut pool = Pool::new(10, ALL);
    pool.hour = 70;
    pool.pass_many(100, |_| HEALTHY);
    pool.pass_many(5, only_first(DEAD));
    pool.outliers.retain(|there| *there != backend(0));
    assert_eq!(pool.ejected(), 0);
    let text = format!("{:?}", pool.outliers);
    assert!(!text.contains("10.0.0.0") && text.contains("10.0.0.1"), "{text}");
}

fn any_tally() -> impl Strategy<Value = Tally> {
    let any = prop_oneof![3 => 0..20_u32, 1 => Just(0), 1 => any::<u32>(), 1 => Just(u32::MAX)];
    (any.clone(), any).prop_map(|(attempts, failures)| Tally { attempts, failures })
}

fn any_latency() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Duration::ZERO)),
        1 => Just(Some(Duration::MAX)),
        4 => (0..1_000_000_u64).prop_map(|micros| Some(Duration::from_micros(micros))),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    (any_tally(), any_latency(), any_tally(), any_latency()).prop_map(
        |(checks, check_latency, traffic, handshake)| Observation {
            checks,
            check_latency,
            traffic,
            handshake,
        },
    )
}

fn any_settings() -> impl Strategy<Value = OutlierSettings> {
    let rules = (0..4_u32, 0..=100_u8, 0..20_000_u64, 0..20_u32, prop_oneof![Just(0), 1..500_u32]);
    let rest = (any::<bool>(), any::<bool>(), 1..60_u64, 1..400_u64, 0..=100_u8);
    (rules, rest).prop_map(|(rules, rest)| OutlierSettings {
        consecutive_failures: rules.0,
        failure_rate: rules.1,
        failure_window: Duration::from_millis(rules.2),
        failure_attempts: rules.3,
        latency_factor: rules.4,
        latency_least: Duration::from_micros(rules.2),
        drift: rest.0,
        learned: rest.1,
        base_ejection_time: Duration::from_secs(rest.2),
        max_ejection_time: Duration::from_secs(rest.3),
        max_ejected: rest.4,
    })
}

/// One period: who is eligible, what is seen, and how long after the last one.
type Step = (Vec<bool>, Vec<Option<Observation>>, u64);

fn any_step() -> impl Strategy<Value = Step> {
    let eligible = prop::collection::vec(prop::bool::weighted(0.9), 12);
    let seen = prop::collection::vec(prop::option::weighted(0.9, any_observation()), 12);
    (eligible, seen, prop_oneof![8 => 900..1100_u64, 1 => 0..400_000_u64])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is seen: no panic, no number that is none, never more out than the share, nobody
    /// longer than the longest time, nobody out who was out.
    #[test]
    fn invariants_hold_whatever_is_seen(
        first in any_settings(),
        other in any_settings(),
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        let mut outliers = Outliers::new(first);
        let mut settings = first;
        let mut now = 0;
        for (index, (eligible, seen, after)) in steps.into_iter().enumerate() {
            now += after;
            if index == 40 {
                outliers.set(other);
                settings = other;
            }
            let eligible: BTreeSet<IpAddr> =
                (0..12).filter(|number| eligible[*number]).map(backend).collect();
            let backends: BTreeMap<IpAddr, Observation> = seen
                .into_iter()
                .enumerate()
                .filter_map(|(number, seen)| Some((backend(number), seen?)))
                .collect();
            let out = |outliers: &Outliers| -> BTreeSet<IpAddr> {
                (0..12).map(backend).filter(|one| outliers.ejection(one).is_some()).collect()
            };
            let before = out(&outliers);
            let hour_of_week = (index % 200) as u8;
            let period = Period { now, hour_of_week, backends: &backends };
            let happened = outliers.observe(&period, &eligible);
            let after = out(&outliers);

            if !settings.is_off() {
                let pool = eligible.union(&after).count();
                prop_assert!(after.len() <= settings.most_ejected(pool));
                prop_assert!(after.is_empty() || eligible.difference(&after).count() > 0);
            }
            for one in &after {
                let ejection = outliers.ejection(one).expect("out");
                let most = settings.max_ejection_time.as_millis() as u64;
                prop_assert!(ejection.until > now && ejection.until - ejection.since <= most);
                prop_assert!(outliers.factor(one).is_none());
            }
            for suspicion in happened {
                if is_ejection(&suspicion) {
                    prop_assert!(eligible.contains(&suspicion.backend));
                    prop_assert!(!before.contains(&suspicion.backend));
                }
                let evidence = &suspicion.evidence;
                prop_assert!(!evidence.contains("NaN") && !evidence.contains("inf"), "{evidence}");
            }
            for number in 0..12 {
                if let Some((percent, evidence)) = outliers.factor(&backend(number)) {
                    prop_assert!([75, 50, 25].contains(&percent));
                    prop_assert!(!evidence.contains("NaN") && !evidence.contains("inf"));
                }
            }
        }
        // All come back when nothing more happens.
        let last = now + settings.max_ejection_time.max(first.max_ejection_time).as_millis() as u64;
        outliers.note(last);
        prop_assert_eq!(outliers.next_deadline(), None);
        let text = format!("{outliers:?}");
        prop_assert!(!text.contains("NaN") && !text.contains(": inf"), "{}", text);
    }

    /// A backend that fails whenever it is back: each ejection is as long as the policy says.
    #[test]
    fn ejection_times_grow_and_are_capped(base in 1..40_u64, most in 1..200_u64) {
        let settings = OutlierSettings {
            base_ejection_time: Duration::from_secs(base),
            max_ejection_time: Duration::from_secs(most),
            consecutive_failures: 3,
            ..OutlierSettings::OFF
        };
        let mut pool = Pool::new(3, settings);
        let mut counts = 0;
        for _ in 0..10 {
            let (_, happened) = loop {
                let (seconds, happened) = pool.until(300, only_first(DEAD));
                if happened.iter().any(is_ejection) {
                    break (seconds, happened);
                }
            };
            let ejection = pool.outliers.ejection(&backend(0)).expect("out");
            let time = (ejection.until - ejection.since) / 1000;
            prop_assert_eq!(time, (base * u64::from(ejection.count)).min(most));
            // With a longest time of a few seconds, what is good time is as short.
            prop_assert!(ejection.count > counts || most <= 10, "{:?}", happened);
            counts = ejection.count;
        }
    }
}
