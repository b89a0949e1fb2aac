//! Whatever the tables say and whatever comes: no panic, and no access outside of a frame or table.
//!
//! Tables here contradict themselves in every way that a writer with a fault, or a page of garbage,
//! could bring about: indices beyond the end, masks that do not fit, values of any bits. Under miri
//! this is also the test that no access is out of bounds.
#![cfg(feature = "host")]

mod draw;
mod frames;
mod tables;

use lb_common::{
    Action, DecapVerdict, Verdict, balance, decap,
    host::{HostFrame, HostGate},
};

use self::draw::Draw;

const TABLES: u64 = if cfg!(miri) { 8 } else { 10_000 };
const FRAMES_PER_TABLE: usize = 10;

/// Names the seed of what was drawn, should it fail.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

#[test]
fn the_balancer_takes_anything() {
    let mut seen = [0; Verdict::COUNT];
    for number in 0..TABLES {
        let seed = Seed(number);
        let mut draw = Draw::new(seed.0);
        let tables = tables::any(&mut draw);
        for _ in 0..FRAMES_PER_TABLE {
            let bytes = frames::any(&mut draw);
            let mut frame = HostFrame::new(&bytes);
            let verdict = balance(&mut frame, &tables);
            let may_change = verdict.action() != Action::Pass || verdict == Verdict::Delivered;
            assert!(may_change || frame.bytes() == bytes, "{verdict:?} has changed the frame");
            seen[verdict as usize] += 1;
        }
    }
    // Tables of nothing but garbage would find no service, and so prove nothing.
    let count = |verdict: Verdict| seen[verdict as usize];
    let sent = count(Verdict::Transmitted) + count(Verdict::Redirected);
    assert!(cfg!(miri) || sent.min(count(Verdict::NoBackend)) > 50, "{seen:?}");
}

#[test]
fn the_far_end_takes_anything() {
    let mut seen = [0; DecapVerdict::COUNT];
    for number in 0..TABLES {
        let seed = Seed(number);
        let mut draw = Draw::new(seed.0);
        let gate = HostGate {
            sources: frames::ADDRESSES.into_iter().map(Into::into).collect(),
            own: frames::ADDRESSES.into_iter().map(Into::into).collect(),
            targets: frames::ADDRESSES[..3].iter().map(|address| (*address).into()).collect(),
            gue_port: frames::GUE_PORT,
            gives_on: true,
            ..HostGate::default()
        };
        for _ in 0..FRAMES_PER_TABLE {
            let bytes = frames::any_tunnel(&mut draw);
            let mut frame = HostFrame::new(&bytes);
            let verdict = decap::open(&mut frame, &gate);
            let may_change = matches!(verdict, DecapVerdict::Opened | DecapVerdict::SecondChance);
            assert!(may_change || frame.bytes() == bytes, "{verdict:?} has changed the frame");
            seen[verdict as usize] += 1;
        }
    }
    let count = |verdict: DecapVerdict| seen[verdict as usize];
    let met = count(DecapVerdict::Opened).min(count(DecapVerdict::SecondChance));
    assert!(cfg!(miri) || met > 50, "{seen:?}");
}
