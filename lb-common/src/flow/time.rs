//! Time as the flow cache counts it: in ticks of about a second, modulo 65,536.

/// Jiffies in one tick on a kernel with so many in a second, as a shift: that of the tick which is
/// nearest to a second (0.7 to 1.4 s).
#[inline(always)]
#[must_use]
pub const fn tick(hz: u32) -> u32 {
    // Powers of two, and what lies between them in proportion.
    match hz {
        0..91 => 6,
        91..182 => 7,
        182..363 => 8,
        363..725 => 9,
        _ => 10,
    }
}

/// For how many ticks what was seen last at `seen` has been silent.
///
/// Packets go on while others, or a walk over the cache, look at it: what is seen a little later than
/// now is not silent at all.
#[inline(always)]
#[must_use]
pub const fn idle(now: u16, seen: u16) -> u16 {
    /// Ticks by which others may be ahead.
    const AHEAD: u32 = 1024;

    let idle = now.wrapping_sub(seen) as u32;
    // Without a branch, of which the verifier would follow both ways for each place of a set.
    let is_ahead = (idle + AHEAD) >> 16;
    (idle & is_ahead.wrapping_sub(1)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_about_a_second_whatever_the_kernel_counts() {
        for hz in [100, 128, 250, 256, 300, 512, 1000, 1024] {
            let seconds = f64::from(1_u32 << tick(hz)) / f64::from(hz);
            assert!((0.7..1.42).contains(&seconds), "{hz} Hz: {seconds} s");
        }
        assert_eq!([0, 250, u32::MAX].map(tick), [6, 8, 10]);
    }

    #[test]
    fn what_is_ahead_is_not_silent_and_the_clock_may_wrap() {
        assert_eq!([idle(10, 10), idle(10, 9), idle(10, 11), idle(10, 500)], [0, 1, 0, 0]);
        assert_eq!(idle(10, u16::MAX), 11);
        assert_eq!(idle(0, 1), 0);
        assert_eq!(idle(40_000, 10), 39_990);
    }
}
