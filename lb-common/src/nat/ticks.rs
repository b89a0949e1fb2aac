//! Time as translated flows count it.

use super::{
    Translation,
    timeout::{SHORTEST, timeout},
};
use crate::flow;

/// The kernel's clock, as entries count it. They have 16 bits for it: a flow that was silent for so
/// many ticks (some 18 hours) seems to have been in use just now, once more for its time.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// The tick now, modulo 65,536.
    pub now: u16,
    /// Clock ticks (jiffies) in a second.
    pub hz: u32,
}

impl Ticks {
    /// Ticks in so many seconds, rounded up.
    #[inline(always)]
    #[must_use]
    pub const fn of_seconds(self, seconds: u32) -> u64 {
        let tick = flow::tick(self.hz);
        (seconds as u64 * self.hz as u64 + (1 << tick) - 1) >> tick
    }

    /// For how many ticks an entry that was seen then has been silent.
    #[inline(always)]
    #[must_use]
    pub const fn since(self, seen: u16) -> u64 {
        flow::idle(self.now, seen) as u64
    }

    /// Whether nothing has gone this way for longer than any flow is kept for less.
    #[inline(always)]
    #[must_use]
    pub fn is_silent(self, entry: &Translation) -> bool {
        self.since(entry.seen()) >= self.of_seconds(SHORTEST)
    }

    /// Whether a flow has been silent for too long.
    #[inline(always)]
    #[must_use]
    pub fn is_over(self, request: &Translation, answer: &Translation) -> bool {
        let [there, back] = [self.since(request.seen()), self.since(answer.seen())];
        let silent = if there < back { there } else { back };
        let protocol = request.tuple.protocol_number();
        silent >= self.of_seconds(timeout(protocol, request.state(), answer.state()))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Tuple,
            timeout::{TCP_ESTABLISHED, UDP_UNANSWERED},
        },
        *,
    };
    use crate::service::UDP;

    const TICKS: Ticks = Ticks { now: 10, hz: 250 };

    #[test]
    fn a_flow_is_over_when_both_directions_have_been_silent() {
        let tuple = Tuple { protocol: u32::from(UDP), ..Tuple::default() };
        let entry = |seen| Translation::new(tuple, 0, 0, (1, 1)).seen_at(seen, 0);
        let after = |ticks: u64| Ticks { now: ticks as u16, ..TICKS };
        let most = TICKS.of_seconds(UDP_UNANSWERED);
        assert!(!after(most - 1).is_over(&entry(0), &entry(0)));
        assert!(after(most).is_over(&entry(0), &entry(0)));
        assert!(!after(most).is_over(&entry(0), &entry(1)));
        assert!(!after(most).is_over(&entry(1), &entry(0)));
    }

    #[test]
    fn packets_may_be_ahead_of_the_pass_and_the_clock_may_wrap() {
        assert_eq!(TICKS.since(12), 0);
        assert_eq!(TICKS.since(9), 1);
        assert_eq!(TICKS.since(u16::MAX), 11);
        assert_eq!(TICKS.since(20_000), 45_546);
    }

    #[test]
    fn the_longest_time_fits_the_clock() {
        for hz in [100, 250, 300, 1000] {
            assert!(Ticks { now: 0, hz }.of_seconds(TCP_ESTABLISHED) < 60_000, "{hz}");
        }
    }
}
