use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::Measure;

const MINUTE: u64 = 60;

fn settings() -> Scaling {
    Scaling {
        measure: Measure::NewFlows,
        per_backend: 125.0,
        target: 80,
        min: 2,
        max: 50,
        horizon: Duration::from_secs(5 * MINUTE),
        cooldown: Duration::from_secs(10 * MINUTE),
        tolerance: 10,
    }
}

/// A service whose load is looked at each second.
struct Service {
    scaler: Scaler,
    second: u64,
}

impl Service {
    fn new(settings: Scaling) -> Self {
        Self { scaler: Scaler::new(settings), second: 0 }
    }

    /// Has a load, by seconds from now on; returns what was asked for at each of them.
    fn carry(&mut self, seconds: u64, load: impl Fn(f64) -> f64) -> Vec<u32> {
        let observe = |second| {
            self.scaler.observe((self.second + second) * 1000, load(second as f64), 0);
            self.desired().desired
        };
        let asked = (0..seconds).map(observe).collect();
        self.second += seconds;
        asked
    }

    fn desired(&self) -> &Desired {
        self.scaler.desired().expect("an observation")
    }
}

fn changes(asked: &[u32]) -> usize {
    asked.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// Something between -1 and 1 that looks like chance.
fn noise(second: f64) -> f64 {
    (second * 12.9898).sin() * 43758.547 % 1.0
}

#[test]
fn a_steady_load_has_its_number_at_once_and_keeps_it() {
    let mut web = Service::new(settings());
    let asked = web.carry(3600, |_| 1000.0);
    assert!(asked.iter().all(|asked| *asked == 10), "{:?}", web.desired());
    assert_eq!((web.desired().demand, web.desired().predicted), (10, 10));
    assert_eq!(
        web.desired().evidence,
        "1000 new flows/s, 1000 in 5m; a backend is to carry 80 % of 125"
    );
}

#[test]
fn a_step_up_is_followed_within_a_minute_and_not_overdone_for_ever() {
    let mut web = Service::new(settings());
    web.carry(600, |_| 500.0);
    let asked = web.carry(3600, |_| 1000.0);
    assert!(asked[60] >= 10, "{}", asked[60]);
    assert!(asked.iter().all(|asked| *asked <= 14), "a step is no ramp: {:?}", asked.iter().max());
    assert!(matches!(asked[3599], 10 | 11), "{}", asked[3599]);
}

#[test]
fn a_step_down_waits_for_the_cool_down() {
    let mut web = Service::new(settings());
    web.carry(600, |_| 1000.0);
    let asked = web.carry(3600, |_| 300.0);
    assert!(asked[..590].iter().all(|asked| *asked == 10), "{asked:?}");
    assert!(asked.is_sorted_by(|one, next| one >= next), "{asked:?}");
    assert!(matches!(asked[1800], 3 | 4), "{}", asked[1800]);
}

#[test]
fn a_dip_that_is_shorter_than_the_cool_down_changes_nothing() {
    let mut web = Service::new(settings());
    web.carry(600, |_| 1000.0);
    let dip = web.carry(300, |_| 100.0);
    let after = web.carry(1200, |_| 1000.0);
    assert!(dip.iter().all(|asked| *asked == 10), "{dip:?}");
    assert!(after.iter().all(|asked| (10..=14).contains(asked)), "{:?}", after.iter().max());
}

/// 10 more backends in 20 minutes: what is asked for is ahead of what is needed.
#[test]
fn a_ramp_is_foretold() {
    let mut web = Service::new(settings());
    web.carry(600, |_| 1000.0);
    let ramp = |second: f64| 1000.0 + second * 1000.0 / 1200.0;
    let asked = web.carry(1200, ramp);
    for (second, asked) in asked.iter().enumerate().skip(500) {
        let (in_four_minutes, tolerated) = (ramp(second as f64 + 240.0), 1.1);
        let made_for = f64::from(*asked) * 100.0 * tolerated;
        assert!(made_for >= in_four_minutes, "{asked} at {second} s");
    }
    let Desired { demand, predicted, .. } = *web.desired();
    assert!(demand <= 21 && (22..=25).contains(&predicted), "{demand} {predicted}");
}

#[test]
fn noise_is_no_reason_to_change() {
    let mut web = Service::new(settings());
    // A tenth either way.
    let asked = web.carry(7200, |second| 960.0 * (1.0 + 0.1 * noise(second)));
    assert!(changes(&asked[60..]) <= 1, "{} changes", changes(&asked[60..]));
    assert!(asked.iter().all(|asked| (10..=11).contains(asked)), "{asked:?}");
}

#[test]
fn a_day_has_few_changes_and_always_enough() {
    let mut web = Service::new(settings());
    let wave = |second: f64| 1000.0 - 800.0 * (second * std::f64::consts::TAU / 86_400.0).cos();
    let load = |second: f64| wave(second) * (1.0 + 0.05 * noise(second));
    let asked = web.carry(2 * 86_400, load);
    for (second, asked) in asked.iter().enumerate().skip(600) {
        let carried = f64::from(*asked) * 125.0;
        assert!(carried > wave(second as f64), "{asked} at {second} s");
    }
    // Up and down by 16 backends, twice.
    assert!(changes(&asked) <= 80, "{} changes", changes(&asked));
}

#[test]
fn no_load_at_all_asks_for_the_fewest() {
    let mut web = Service::new(settings());
    web.carry(60, |_| 0.0);
    let Desired { demand, predicted, desired, .. } = web.desired();
    assert_eq!((*demand, *predicted, *desired), (2, 2, 2));
}

#[test]
fn what_is_no_load_is_passed_over() {
    let mut web = Service::new(settings());
    web.scaler.observe(0, f64::NAN, 5);
    assert_eq!(web.scaler.desired(), None);
    web.carry(60, |_| 1000.0);
    for load in [f64::NAN, f64::INFINITY, -1.0] {
        web.scaler.observe(61_000, load, 5);
    }
    assert_eq!((web.desired().desired, web.scaler.load()), (10, Some(1000.0)));
}

#[test]
fn a_new_beginning_takes_none_away_before_the_cool_down() {
    let mut scaler = Scaler::new(settings());
    let mut desired = |second: u64| {
        scaler.observe(second * 1000, 300.0, 8);
        scaler.desired().expect("observed").desired
    };
    assert!((0..=600).all(|second| desired(second) == 8));
    assert_eq!(desired(601), 3);
}

proptest! {
    #[test]
    fn is_always_within_its_bounds(
        loads in prop::collection::vec((1_u64..100_000, 0.0_f64..1e12), 1..200),
        min in 0_u32..10,
        more in 0_u32..1000,
        per_backend in 0.001_f64..1e9,
        horizon in 1_u64..100_000,
        serving in 0_u32..2000,
    ) {
        let settings = Scaling {
            min,
            max: min + more,
            per_backend,
            horizon: Duration::from_secs(horizon),
            ..settings()
        };
        let mut scaler = Scaler::new(settings);
        let mut now = 0;
        for (elapsed, load) in loads {
            now += elapsed;
            scaler.observe(now, load, serving);
            let Desired { demand, predicted, desired, evidence } =
                scaler.desired().expect("observed");
            for number in [demand, predicted, desired] {
                prop_assert!((min..=min + more).contains(number), "{number}");
            }
            prop_assert!(scaler.load().expect("observed").is_finite());
            prop_assert!(!evidence.contains("NaN") && !evidence.contains("inf"), "{evidence}");
        }
    }

    /// Whatever a load does within the tolerance of what the number was made for.
    #[test]
    fn nothing_changes_within_the_tolerance(
        loads in prop::collection::vec(0.995_f64..1.005, 1..300),
        backends in 3_u32..40,
    ) {
        let mut web = Service::new(settings());
        let made_for = f64::from(backends) * 100.0;
        web.carry(600, |_| made_for);
        for load in loads {
            let asked = web.carry(1, |_| made_for * load);
            prop_assert_eq!(asked[0], backends);
        }
    }
}
