//! Members whose tables are measured.

use std::net::{IpAddr, Ipv4Addr};

use lb_userspace::selection::Member;

/// Weights of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// All alike.
    Equal,
    /// From 25 to 200.
    Mixed,
}

impl Weights {
    /// Word in the table and in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Mixed => "mixed",
        }
    }

    fn of(self, number: u16) -> u32 {
        match self {
            Self::Equal => 100,
            Self::Mixed => [100, 25, 50, 200, 100, 50, 200][usize::from(number) % 7],
        }
    }
}

/// Members 1 to `count`.
pub(super) fn pool(count: u16, weights: Weights) -> Vec<Member> {
    (1..=count).map(|number| member(number, weights.of(number))).collect()
}

/// A member of no pool.
pub(super) fn newcomer(number: u16) -> Member {
    member(60_000 + number, 100)
}

/// The pool with one member's weight of now changed: a matter of health or of the operator.
pub(super) fn reweighted(pool: &[Member], number: usize, change: fn(u32) -> u32) -> Vec<Member> {
    let mut pool = pool.to_vec();
    pool[number].weight = change(pool[number].weight);
    pool
}

/// The pool with one member's configured weight changed.
pub(super) fn configured(pool: &[Member], number: usize, change: fn(u32) -> u32) -> Vec<Member> {
    let mut pool = reweighted(pool, number, change);
    pool[number].base_weight = pool[number].weight;
    pool
}

fn member(number: u16, weight: u32) -> Member {
    let [high, low] = number.to_be_bytes();
    let address = IpAddr::from(Ipv4Addr::new(10, 1, high, low)).into();
    Member { address, base_weight: weight, weight }
}
