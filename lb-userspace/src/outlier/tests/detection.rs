//! What is found, how soon, and what is not.

use super::*;

/// The one thing that happened, to backend 0.
#[track_caller]
fn one((seconds, happened): (u32, Vec<Suspicion>), most: u32, detector: &str, evidence: &str) {
    let [suspicion] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!((suspicion.backend, suspicion.detector), (backend(0), detector), "{suspicion:?}");
    assert!(is_ejection(suspicion), "{suspicion:?}");
    assert!(suspicion.evidence.contains(evidence), "{}", suspicion.evidence);
    assert!(seconds <= most, "{seconds} s");
}

#[test]
fn failures_in_a_row() {
    let mut pool = Pool::new(10, ONLY_RULES);
    assert_eq!(pool.pass_many(100, |_| HEALTHY), []);
    let dead = Shape { failing: 1.0, ..HEALTHY };
    let found = pool.until(5, only_first(dead));
    one(found, 5, rules::CONSECUTIVE, "in a row failed, the last ones of ");
}

#[test]
fn checks_and_traffic_are_rows_of_their_own() {
    let mut pool =
        Pool::new(3, OutlierSettings { consecutive_failures: 3, ..OutlierSettings::OFF });
    let failed = Tally { attempts: 1, failures: 1 };
    let passed = Tally { attempts: 1, failures: 0 };
    let row = |checks, traffic| {
        let well = Observation { checks: passed, traffic: passed, ..Observation::default() };
        let ill = Observation { checks, traffic, ..Observation::default() };
        [(backend(0), ill), (backend(1), well), (backend(2), well)].into()
    };
    let none = Tally::default();
    let periods = [
        // Who has just come is not judged yet.
        row(failed, failed),
        row(failed, passed),
        row(passed, failed),
        row(failed, failed),
        // A period without an attempt does not interrupt a row.
        row(none, none),
        row(failed, passed),
        row(failed, failed),
    ];
    let mut ejected = Vec::new();
    for (second, backends) in periods.iter().enumerate() {
        let period = Period { now: 1000 * second as u64, hour_of_week: 0, backends };
        let happened = pool.outliers.observe(&period, &pool.eligible);
        ejected.extend(happened.into_iter().map(|suspicion| (second, suspicion.evidence)));
    }
    let evidence = "3 checks in a row failed, the last ones of 0 of 2 others did".to_owned();
    assert_eq!(ejected, [(6, evidence)]);
}

#[test]
fn a_share_of_failures() {
    let settings = OutlierSettings { consecutive_failures: 0, ..ONLY_RULES };
    let mut pool = Pool::new(10, settings);
    assert_eq!(pool.pass_many(100, |_| HEALTHY), []);
    let found = pool.until(12, only_first(Shape { failing: 0.75, ..HEALTHY }));
    one(found, 12, rules::RATE, "connection attempts failed in 10s, ");
}

#[test]
fn a_share_of_failures_that_others_have_too_is_nobody_s() {
    let settings = OutlierSettings { consecutive_failures: 0, ..ONLY_RULES };
    let mut pool = Pool::new(10, settings);
    let half = Shape { failing: 0.55, ..HEALTHY };
    assert_eq!(pool.pass_many(2000, |_| half), []);
    let worse = |number| if number == 0 { Shape { failing: 0.8, ..half } } else { half };
    assert_eq!(pool.pass_many(2000, worse), []);
}

#[test]
fn latency_against_the_others() {
    let mut pool = Pool::new(10, ONLY_RULES);
    assert_eq!(pool.pass_many(100, |_| HEALTHY), []);
    let found = pool.until(20, only_first(Shape { latency: 0.1, ..HEALTHY }));
    one(found, 20, rules::LATENCY, "ms that are usual among the others");
    // Nor is what is fast a reason, or slow by little in itself, or by little beside the others.
    for (usual, slow) in [(0.02, 0.002), (0.0005, 0.003), (0.2, 0.3)] {
        let mut pool = Pool::new(10, ONLY_RULES);
        let shape = |latency| Shape { latency, ..HEALTHY };
        let happened = pool.pass_many(1000, |number| shape(if number == 0 { slow } else { usual }));
        assert_eq!(happened, [], "{slow}");
    }
}

#[test]
fn latency_needs_three_others() {
    for (size, is_found) in [(3, false), (4, true)] {
        let mut pool = Pool::new(size, ONLY_RULES);
        let happened = pool.pass_many(30, only_first(Shape { latency: 0.2, ..HEALTHY }));
        assert_eq!(happened.iter().any(is_ejection), is_found);
    }
}

#[test]
fn no_false_alarm_in_a_day_of_a_healthy_pool() {
    let mut pool = Pool::new(10, ALL);
    // Seven visits of each hour.
    pool.hour = 80;
    for _ in 0..100_000 {
        assert_eq!(pool.pass(|_| HEALTHY), []);
    }
}

#[test]
fn drift_costs_weight_before_it_fails() {
    let mut pool = Pool::new(10, OutlierSettings::USUAL);
    assert_eq!(pool.pass_many(600, |_| HEALTHY), []);
    // From 2 % to 60 % of failures in ten minutes.
    let start = pool.second;
    let mut happenings = Vec::new();
    while pool.ejected() == 0 {
        let failing = 0.02 + 0.58 * (pool.second - start) as f64 / 600.0;
        let happened = pool.pass(only_first(Shape { failing, ..HEALTHY }));
        happenings.extend(happened.into_iter().map(|suspicion| (failing, suspicion)));
        assert!(pool.second - start < 600, "{happenings:?}");
    }
    let percents: Vec<u8> = happenings
        .iter()
        .filter_map(|(_, suspicion)| match suspicion.happening {
            Happening::Lightened { percent } => Some(percent),
            _ => None,
        })
        .collect();
    assert_eq!(percents, [75, 50, 25], "{happenings:?}");
    assert!(happenings[0].0 < 0.25, "{happenings:?}");
    assert!(happenings.iter().all(|(_, suspicion)| suspicion.backend == backend(0)));
}

#[test]
fn latency_drifts_too_and_weight_comes_back() {
    let mut pool = Pool::new(10, ONLY_DRIFT);
    assert_eq!(pool.pass_many(600, |_| HEALTHY), []);
    let slow = Shape { latency: 0.034, ..HEALTHY };
    let (seconds, happened) = pool.until(60, only_first(slow));
    assert!(seconds > 2 && !is_ejection(&happened[0]), "{seconds} {happened:?}");
    pool.pass_many(60, only_first(slow));
    let (percent, evidence) = pool.outliers.factor(&backend(0)).expect("lightened");
    assert!((50..=75).contains(&percent), "{percent} {evidence}");
    assert!(evidence.contains("are usual for it, the others take"), "{evidence}");
    let happened = pool.pass_many(200, |_| HEALTHY);
    let last = happened.last().expect("restored");
    assert_eq!((last.backend, last.happening), (backend(0), Happening::Restored));
    assert_eq!(pool.outliers.factor(&backend(0)), None);
}

#[test]
fn a_strong_change_ejects() {
    let mut pool = Pool::new(10, ONLY_DRIFT);
    assert_eq!(pool.pass_many(600, |_| HEALTHY), []);
    let happened = pool.pass_many(30, only_first(Shape { latency: 0.12, ..HEALTHY }));
    let ejected: Vec<_> = happened.iter().filter(|suspicion| is_ejection(suspicion)).collect();
    assert_eq!(ejected.len(), 1, "{happened:?}");
    assert_eq!((ejected[0].backend, ejected[0].detector), (backend(0), stream::DRIFT));
    // It is known for what it was: still slow when it is back, it is out again.
    let happened = pool.pass_many(60, only_first(Shape { latency: 0.12, ..HEALTHY }));
    let again = happened.iter().rfind(|suspicion| is_ejection(suspicion)).expect("out again");
    assert!(matches!(again.happening, Happening::Ejected { count: 2, .. }), "{again:?}");
}

#[test]
fn what_all_do_is_no_drift() {
    let mut pool = Pool::new(10, ONLY_DRIFT);
    assert_eq!(pool.pass_many(600, |_| HEALTHY), []);
    let all = Shape { latency: 0.08, failing: 0.3, ..HEALTHY };
    assert_eq!(pool.pass_many(600, |_| all), []);
}

/// Backend 0 is slow in one hour of each day, and then also in another one.
#[test]
fn the_nightly_hour_is_usual_and_the_same_at_noon_is_not() {
    let mut pool = Pool::new(5, ONLY_LEARNED);
    pool.hour = 100;
    let slow = Shape { latency: 0.1, ..HEALTHY };
    let is_night = |second: u64| second / 100 % 24 == 3;
    for week in 0..4 {
        for _ in 0..16_800 {
            let is_slow = is_night(pool.second + 1);
            let happened = pool.pass(only_first(if is_slow { slow } else { HEALTHY }));
            assert_eq!(happened, [], "week {week}");
        }
    }
    // As after a restart of the daemon.
    let kept = serde_json::to_string(pool.outliers.history().expect("learned")).expect("kept");
    pool.outliers = Outliers::new(ONLY_LEARNED);
    pool.outliers.learn(serde_json::from_str(&kept).expect("history"));
    while pool.hour_of_week() < 12 {
        let shape = if is_night(pool.second + 1) { slow } else { HEALTHY };
        assert_eq!(pool.pass(only_first(shape)), []);
    }
    let happened = pool.pass_many(40, only_first(slow));
    let ejected = happened.iter().find(|suspicion| is_ejection(suspicion)).expect("ejected");
    assert_eq!((ejected.backend, ejected.detector), (backend(0), learned::LEARNED));
    assert!(ejected.evidence.ends_with("are usual for it at this hour"), "{}", ejected.evidence);
}
