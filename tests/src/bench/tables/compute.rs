//! Tables as they are computed: time, evenness, movement.

use std::time::Instant;

use lb_common::ServiceKey;
use lb_userspace::selection::{self, Evenness, Member, Memo};
use serde::Serialize;

use super::{
    maglev,
    pool::{Weights, configured, newcomer, pool, reweighted},
};

/// Members that leave, return and so on, each from the whole pool. Fewer where each takes long.
const VICTIMS: [usize; 2] = [10, 3];
const SALT: u64 = 0x5eed;

/// The figures of tables of one size.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) members: u16,
    pub(super) weights: &'static str,
    pub(super) slots: u32,
    pub(super) ours: Figures,
    pub(super) maglev: Figures,
}

/// The figures of one algorithm. Movement is over the least that had to move.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) slots: u32,
    /// A table from nothing.
    pub(super) build_ms: f64,
    /// A table after a member's health or weight has changed.
    pub(super) update_ms: f64,
    /// Share of the fullest member over its exact share.
    pub(super) fullest: f64,
    /// Share of the emptiest.
    pub(super) emptiest: f64,
    /// A member goes down.
    pub(super) down: f64,
    /// It comes back.
    pub(super) up: f64,
    /// A member has half its weight for now.
    pub(super) halved: f64,
    /// A member is removed from the configuration.
    pub(super) removed: f64,
    /// A member is added to it.
    pub(super) added: f64,
    /// The configuration halves a member's weight.
    pub(super) configured: f64,
}

pub(super) fn measure(members: u16, bits: Option<u8>, weights: Weights, runs: usize) -> Row {
    let bits = bits.unwrap_or_else(|| selection::size_bits(usize::from(members)));
    let pool = pool(members, weights);
    let (slots, prime) = (1 << bits, maglev::prime(1 << bits));
    let owners = |pool: &[Member]| selection::table_of(pool, SALT, bits).unwrap_or_default();
    // Of a pool as large as this, a run takes long enough to tell.
    let runs = if members >= 10_000 { 1 } else { runs };
    let ours =
        Figures { update_ms: update(&pool, bits, runs), ..figures(&pool, slots, runs, &owners) };
    let maglev = figures(&pool, prime, runs, &|pool| maglev::table(pool, SALT, prime));
    Row { members, weights: weights.name(), slots, ours, maglev }
}

fn figures(
    pool: &[Member],
    slots: u32,
    runs: usize,
    table: &dyn Fn(&[Member]) -> Vec<u16>,
) -> Figures {
    let build_ms = median_ms(runs, || drop(table(pool)));
    let before = table(pool);
    let even =
        selection::evenness(&before, pool).unwrap_or(Evenness { fullest: 0.0, emptiest: 0.0 });
    // Of all victims together, since the least of one may be a handful of slots.
    let moved = |changed: &dyn Fn(usize) -> Vec<Member>| {
        let mut sums = [[0_u32; 2]; 2];
        let victims = VICTIMS[usize::from(pool.len() > 100)];
        for victim in 0..victims {
            let changed = changed(victim * pool.len() / victims);
            let after = table(&changed);
            let there = selection::movement(pool, &before, &changed, &after);
            let back = selection::movement(&changed, &after, pool, &before);
            for (sum, seen) in sums.iter_mut().zip([there, back]) {
                *sum = [sum[0] + seen.moved, sum[1] + seen.least];
            }
        }
        sums.map(|[moved, least]| f64::from(moved) / f64::from(least))
    };
    let [down, up] = moved(&|victim| reweighted(pool, victim, |_| 0));
    Figures {
        slots,
        build_ms,
        // Where nothing is known that helps, an update is a build.
        update_ms: build_ms,
        fullest: even.fullest,
        emptiest: even.emptiest,
        down,
        up,
        halved: moved(&|victim| reweighted(pool, victim, |weight| weight / 2))[0],
        removed: moved(&|victim| [&pool[..victim], &pool[victim + 1..]].concat())[0],
        added: moved(&|victim| [pool, &[newcomer(victim as u16)]].concat())[0],
        configured: moved(&|victim| configured(pool, victim, |weight| weight / 2))[0],
    }
}

fn update(pool: &[Member], bits: u8, runs: usize) -> f64 {
    let key = ServiceKey::new(pool[0].address, 80, lb_common::service::TCP);
    let mut memo = Memo::default();
    drop(memo.table_of(&key, pool, SALT, bits));
    let down = reweighted(pool, pool.len() / 2, |_| 0);
    median_ms(runs.max(5), || drop(memo.table_of(&key, &down, SALT, bits)))
}

fn median_ms(runs: usize, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    };
    super::harness::median((0..runs).map(once).collect())
}
