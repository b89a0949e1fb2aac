//! Removing translated flows that have been silent for too long.

use std::io;

use lb_common::nat::{
    Translation, Tuple,
    timeout::{SHORTEST, timeout},
};

use super::translations::{Cursor, Translations};

/// Entries that one pass looks at: some 50 ms of a processor.
const PASS: usize = 1 << 16;

/// The kernel's clock, as entries count it.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// The tick now, modulo 65,536.
    pub now: u16,
    /// Clock ticks (jiffies) in a second.
    pub hz: u32,
}

impl Ticks {
    /// Ticks in so many seconds, rounded up.
    fn of_seconds(self, seconds: u32) -> u32 {
        (seconds * self.hz).div_ceil(1 << lb_common::flow::TICK)
    }

    /// For how many ticks an entry that was seen then has been silent.
    fn since(self, seen: u16) -> u32 {
        /// Packets go on while a pass takes its time: so far ahead of it they may be.
        const AHEAD: u16 = 1024;

        let ticks = self.now.wrapping_sub(seen);
        if ticks > u16::MAX - AHEAD { 0 } else { u32::from(ticks) }
    }
}

/// A walk over all flows that goes on for ever, pass by pass.
#[derive(Debug)]
pub struct NatSweep {
    translations: Translations,
    cursor: Cursor,
    counted: u64,
    flows: u64,
    expired: u64,
}

impl NatSweep {
    /// At the beginning.
    #[must_use]
    pub const fn new(translations: Translations) -> Self {
        Self { translations, cursor: Cursor::Start, counted: 0, flows: 0, expired: 0 }
    }

    /// Flows that there were when all were last looked at.
    #[must_use]
    pub const fn flows(&self) -> u64 {
        self.flows
    }

    /// Flows that fit.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.translations.capacity()
    }

    /// Flows that were removed so far.
    #[must_use]
    pub const fn expired(&self) -> u64 {
        self.expired
    }

    /// Looks at the next entries, up to the last of all, and removes those of flows that are over.
    pub fn pass(&mut self, ticks: Ticks) -> io::Result<()> {
        let mut seen = 0;
        while seen < PASS && self.cursor != Cursor::End {
            let entries = self.translations.walk(&mut self.cursor)?;
            // A call that finds nothing has cost something too.
            seen += entries.len().max(1);
            for (tuple, entry) in &entries {
                self.look_at(tuple, entry, ticks)?;
            }
        }
        if self.cursor == Cursor::End {
            self.flows = std::mem::take(&mut self.counted);
            self.cursor = Cursor::Start;
        }
        Ok(())
    }

    fn look_at(&mut self, tuple: &Tuple, entry: &Translation, ticks: Ticks) -> io::Result<()> {
        let is_over = ticks.since(entry.seen()) >= ticks.of_seconds(SHORTEST)
            && match tuple.is_answer() {
                true => self.partner(tuple, entry)?.is_none(),
                // Once more, since it was read with many others.
                false => match self.translations.get(tuple)? {
                    Some(entry) => is_over(&entry, self.partner(tuple, &entry)?.as_ref(), ticks),
                    None => return Ok(()),
                },
            };
        if !is_over {
            self.counted += u64::from(!tuple.is_answer());
            return Ok(());
        }
        // The request's first: a packet that still comes begins the flow anew.
        self.translations.remove(tuple)?;
        if !tuple.is_answer() {
            self.expired += 1;
            if self.partner(tuple, entry)?.is_some() {
                self.translations.remove(&entry.tuple.reversed())?;
            }
        }
        Ok(())
    }

    /// The entry of the flow's other direction; `None` if another flow has its place.
    fn partner(&self, tuple: &Tuple, entry: &Translation) -> io::Result<Option<Translation>> {
        let partner = self.translations.get(&entry.tuple.reversed())?;
        Ok(partner.filter(|partner| partner.tuple == tuple.reversed()))
    }
}

/// Whether a flow has been silent for too long. One half of a flow is nothing.
fn is_over(request: &Translation, answer: Option<&Translation>, ticks: Ticks) -> bool {
    let Some(answer) = answer else { return true };
    let silent = ticks.since(request.seen()).min(ticks.since(answer.seen()));
    let protocol = request.tuple.protocol_number();
    silent >= ticks.of_seconds(timeout(protocol, request.state(), answer.state()))
}

#[cfg(test)]
mod tests {
    use lb_common::{nat::timeout::UDP_UNANSWERED, service::UDP};

    use super::*;

    const TICKS: Ticks = Ticks { now: 10, hz: 250 };

    fn entry() -> Translation {
        let tuple = Tuple { protocol: u32::from(UDP), ..Tuple::default() };
        Translation::new(tuple, 0, 0, (1, 1))
    }

    #[test]
    fn a_flow_is_over_when_both_directions_have_been_silent() {
        // Entries that were last seen at tick 0.
        let after = |seconds: u32| Ticks { now: TICKS.of_seconds(seconds) as u16, ..TICKS };
        let answer = entry();
        assert!(!is_over(&entry(), Some(&answer), after(UDP_UNANSWERED - 2)));
        assert!(is_over(&entry(), Some(&answer), after(UDP_UNANSWERED)));
        assert!(is_over(&entry(), None, TICKS));
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
        let longest = lb_common::nat::timeout::TCP_ESTABLISHED;
        for hz in [100, 250, 300, 1000] {
            assert!(Ticks { now: 0, hz }.of_seconds(longest) < 60_000, "{hz}");
        }
    }
}
