//! Detectors and policy together, on a pool that is drawn from seeds.

mod detection;
mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::*;
use crate::model::OutlierSettings;

const ONLY_RULES: OutlierSettings = OutlierSettings { drift: false, ..OutlierSettings::USUAL };
const ONLY_DRIFT: OutlierSettings = OutlierSettings { drift: true, ..OutlierSettings::OFF };
const ONLY_LEARNED: OutlierSettings = OutlierSettings { learned: true, ..OutlierSettings::OFF };
const ALL: OutlierSettings = OutlierSettings { learned: true, ..OutlierSettings::USUAL };

fn backend(number: usize) -> IpAddr {
    IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
}

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to less than 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn tally(&mut self, attempts: u32, failing: f64) -> Tally {
        let failures = (0..attempts).filter(|_| self.unit() < failing).count() as u32;
        Tally { attempts, failures }
    }
}

/// How a backend does.
#[derive(Clone, Copy)]
struct Shape {
    /// Most attempts of clients in a period.
    attempts: u32,
    /// Share of them that fails.
    failing: f64,
    /// Median latency in seconds.
    latency: f64,
}

const HEALTHY: Shape = Shape { attempts: 20, failing: 0.02, latency: 0.02 };

/// A pool that is seen once a second.
struct Pool {
    outliers: Outliers,
    eligible: BTreeSet<IpAddr>,
    random: Random,
    second: u64,
    /// Seconds of an hour of the week.
    hour: u64,
}

impl Pool {
    fn new(size: usize, settings: OutlierSettings) -> Self {
        Self {
            outliers: Outliers::new(settings),
            eligible: (0..size).map(backend).collect(),
            random: Random(size as u64),
            second: 0,
            hour: 3600,
        }
    }

    fn now(&self) -> u64 {
        1000 * self.second
    }

    fn hour_of_week(&self) -> u8 {
        (self.second / self.hour % 168) as u8
    }

    fn observation(&mut self, shape: Shape) -> Observation {
        let random = &mut self.random;
        let mut latency = |sigma: f64| {
            Some(Duration::from_secs_f64(shape.latency * (sigma * random.normal()).exp()))
        };
        let (check_latency, handshake) = (latency(0.4), latency(0.15));
        let attempts = random.next() as u32 % (shape.attempts + 1);
        let traffic = random.tally(attempts, shape.failing);
        let checks = random.tally(1, shape.failing / 2.0);
        Observation {
            checks,
            check_latency: check_latency.filter(|_| checks.failures == 0),
            traffic,
            handshake: handshake.filter(|_| traffic.failures < traffic.attempts),
        }
    }

    /// Lets a second pass in which each backend does as `shape` says.
    fn pass(&mut self, shape: impl Fn(usize) -> Shape) -> Vec<Suspicion> {
        self.second += 1;
        let backends: BTreeMap<IpAddr, Observation> = (0..self.eligible.len())
            .map(|number| (backend(number), self.observation(shape(number))))
            .collect();
        let (now, hour_of_week) = (self.now(), self.hour_of_week());
        let period = Period { now, hour_of_week, backends: &backends };
        self.outliers.observe(&period, &self.eligible)
    }

    fn pass_many(&mut self, seconds: u32, shape: impl Fn(usize) -> Shape) -> Vec<Suspicion> {
        (0..seconds).flat_map(|_| self.pass(&shape)).collect()
    }

    /// Passes seconds until something happens; the number of them, and what.
    fn until(&mut self, most: u32, shape: impl Fn(usize) -> Shape) -> (u32, Vec<Suspicion>) {
        for second in 1..=most {
            let happened = self.pass(&shape);
            if !happened.is_empty() {
                return (second, happened);
            }
        }
        panic!("nothing happened in {most} s");
    }

    fn ejected(&self) -> usize {
        self.eligible.iter().filter(|backend| self.outliers.ejection(backend).is_some()).count()
    }
}

/// Backend 0 so, the others well.
fn only_first(shape: Shape) -> impl Fn(usize) -> Shape {
    move |number| if number == 0 { shape } else { HEALTHY }
}

fn is_ejection(suspicion: &Suspicion) -> bool {
    matches!(suspicion.happening, Happening::Ejected { .. })
}
