//! `LOADS`: how busy backends are, for schedulers that ask.
//!
//! Packets count what begins and ends; the daemon counts anew from what is remembered, once a second.
//! Two processors that count at the same moment may lose one: the daemon's count makes it good.

use crate::shared::{SharedU32, SharedU64};

/// One value of `LOADS`, by index of the backend: 8 bytes.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Load {
    flows: SharedU32,
    latency: SharedU32,
}

impl Load {
    /// Flows in progress.
    #[inline(always)]
    #[must_use]
    pub fn flows(&self) -> u32 {
        self.flows.load()
    }

    /// Replaces the number of flows by one that was counted.
    pub fn set_flows(&self, flows: u32) {
        self.flows.store(flows);
    }

    /// Counts a flow that begins.
    #[inline(always)]
    pub fn begin(&self) {
        self.flows.store(self.flows.load().wrapping_add(1));
    }

    /// Counts a flow that ends.
    #[inline(always)]
    pub fn end(&self) {
        let flows = self.flows.load();
        if flows > 0 {
            self.flows.store(flows - 1);
        }
    }

    /// How long the backend takes to answer, in microseconds; 0 is not known.
    #[inline(always)]
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.latency.load()
    }

    /// Takes in how long one answer took, in microseconds: an eighth of the mean, as RFC 6298 has it
    /// for round trips.
    #[inline(always)]
    pub fn answered(&self, latency: u32) {
        const MOST: u32 = 1 << 24;

        let latency = if latency == 0 {
            1
        } else if latency > MOST {
            MOST
        } else {
            latency
        };
        let before = self.latency.load();
        let mean = if before == 0 { latency } else { before - before / 8 + latency.div_ceil(8) };
        self.latency.store(mean);
    }
}

/// One value of `ROTATIONS`, by index of the policy: whose turn it is. Turns wrap at 2^32, a multiple
/// of every list's length.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Rotation(SharedU64);

impl Rotation {
    /// The number of this turn. Two processors may get the same.
    #[inline(always)]
    #[must_use]
    pub fn next(&self) -> u32 {
        let turn = self.0.load();
        self.0.store(turn.wrapping_add(1));
        turn as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_and_never_below_none() {
        let load = Load::default();
        load.begin();
        load.begin();
        assert_eq!(load.flows(), 2);
        (0..3).for_each(|_| load.end());
        assert_eq!(load.flows(), 0);
    }

    #[test]
    fn the_mean_follows_what_is_measured() {
        let load = Load::default();
        load.answered(800);
        assert_eq!(load.latency(), 800, "the first is believed at once");
        load.answered(1600);
        assert_eq!(load.latency(), 900);
        (0..100).for_each(|_| load.answered(0));
        assert!(load.latency() < 16);
        (0..100).for_each(|_| load.answered(u32::MAX));
        assert!(load.latency() <= 1 << 25);
    }

    #[test]
    fn turns_follow_each_other() {
        let rotation = Rotation(SharedU64::new(u32::MAX.into()));
        assert_eq!([rotation.next(), rotation.next(), rotation.next()], [u32::MAX, 0, 1]);
    }
}
