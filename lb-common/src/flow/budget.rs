//! `INSERT_BUDGET`: how many flows may be remembered in a tick.

use core::cell::Cell;

/// How many flows one CPU may still remember in this tick: one value of `INSERT_BUDGET`.
///
/// A flood of new flows spends the budget and from then on goes its way by the table alone, so
/// that it cannot push out the flows that are remembered.
#[repr(C)]
#[derive(Debug, Default)]
pub struct InsertBudget {
    tick: Cell<u32>,
    spent: Cell<u32>,
}

impl InsertBudget {
    /// Whether nothing is left of the budget of the tick `now`.
    #[inline(always)]
    #[must_use]
    pub fn is_spent(&self, now: u16, allowance: u32) -> bool {
        let spent = if self.tick.get() == u32::from(now) + 1 { self.spent.get() } else { 0 };
        spent >= allowance
    }

    /// Takes one insertion out of the budget of the tick `now`, if there is one left.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, now: u16, allowance: u32) -> bool {
        // One more than the tick, so that a zeroed budget is of no tick.
        let tick = u32::from(now) + 1;
        let spent = if self.tick.get() == tick { self.spent.get() } else { 0 };
        self.tick.set(tick);
        let granted = spent < allowance;
        self.spent.set(spent + u32::from(granted));
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_ends_and_comes_back() {
        let budget = InsertBudget::default();
        assert_eq!((0..5).filter(|_| budget.take(0, 3)).count(), 3);
        assert_eq!((0..5).filter(|_| budget.take(1, 3)).count(), 3);
        assert!(budget.is_spent(1, 3) && !budget.is_spent(1, 4) && !budget.is_spent(2, 3));
        assert!(!budget.take(1, 0));
    }
}
