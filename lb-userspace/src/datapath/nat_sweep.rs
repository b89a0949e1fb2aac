//! Removing translated flows that have been silent for too long.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

pub use lb_common::nat::Ticks;
use lb_common::nat::{Translation, Tuple, state};

use super::{
    loads::TranslatedCount,
    translations::{Cursor, Translations},
};

/// Entries that one pass looks at, in the least: some 50 ms of a processor.
const LEAST_PASS: u32 = 1 << 16;

/// Passes for a table that is full.
const PASSES: u32 = 10;

/// A walk over all flows that goes on for ever, pass by pass.
#[derive(Debug)]
pub struct NatSweep {
    translations: Translations,
    cursor: Cursor,
    counted: u64,
    flows: u64,
    expired: u64,
    loads: Option<TranslatedCount>,
}

impl NatSweep {
    /// At the beginning.
    #[must_use]
    pub const fn new(translations: Translations) -> Self {
        Self { translations, cursor: Cursor::Start, counted: 0, flows: 0, expired: 0, loads: None }
    }

    /// The same, counting the flows of backends too.
    #[must_use]
    pub fn counting(self, loads: TranslatedCount) -> Self {
        Self { loads: Some(loads), ..self }
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
    /// A panic is an error, after which the walk begins anew.
    pub fn pass(&mut self, ticks: Ticks) -> io::Result<()> {
        let passed = guarded(|| self.walk_on(ticks));
        if passed.is_err() {
            (self.cursor, self.counted) = (Cursor::Start, 0);
        }
        passed
    }

    fn walk_on(&mut self, ticks: Ticks) -> io::Result<()> {
        if self.cursor == Cursor::Start
            && let Some(loads) = &mut self.loads
        {
            loads.begin();
        }
        let most = pass_length(self.capacity());
        let mut seen = 0;
        while seen < most && self.cursor != Cursor::End {
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
            if let Some(loads) = &mut self.loads {
                loads.end();
            }
        }
        Ok(())
    }

    /// Removes the flow of an entry if it is over. The entry may have been read some time ago,
    /// with many others: one that seems silent is read once more.
    pub fn look_at(&mut self, tuple: &Tuple, read: &Translation, ticks: Ticks) -> io::Result<()> {
        let current = match ticks.is_silent(read) {
            true => self.translations.get(tuple)?,
            false => Some(read.copy()),
        };
        // Somebody else has removed it.
        let Some(entry) = current else { return Ok(()) };
        if self.is_over(tuple, &entry, ticks)? {
            return self.remove(tuple, &entry);
        }
        self.count(tuple, &entry);
        Ok(())
    }

    fn count(&mut self, tuple: &Tuple, entry: &Translation) {
        if tuple.is_answer() {
            return;
        }
        self.counted += 1;
        if entry.state() & state::COUNTED != 0
            && let Some(loads) = &mut self.loads
        {
            loads.add(entry.backend, entry.generation);
        }
    }

    /// Whether an entry's flow is over. Half of a flow is nothing, unless the other half is just
    /// being added. A whole one is judged, and counted, by its request.
    fn is_over(&self, tuple: &Tuple, entry: &Translation, ticks: Ticks) -> io::Result<bool> {
        if !ticks.is_silent(entry) {
            return Ok(false);
        }
        let partner = self.partner(tuple, entry)?;
        Ok(partner.is_none_or(|answer| !tuple.is_answer() && ticks.is_over(entry, &answer)))
    }

    fn remove(&mut self, tuple: &Tuple, entry: &Translation) -> io::Result<()> {
        // The request's first: a packet that still comes begins the flow anew.
        self.translations.remove(tuple)?;
        if tuple.is_answer() {
            return Ok(());
        }
        self.expired += 1;
        if self.partner(tuple, entry)?.is_some() {
            self.translations.remove(&entry.tuple.reversed())?;
        }
        Ok(())
    }

    /// The entry of the flow's other direction; `None` if another flow has its place.
    fn partner(&self, tuple: &Tuple, entry: &Translation) -> io::Result<Option<Translation>> {
        let partner = self.translations.get(&entry.tuple.reversed())?;
        Ok(partner.filter(|partner| partner.tuple == tuple.reversed()))
    }
}

/// Entries that one pass looks at, in a table of so many flows: with a pass a second, all are
/// looked at within some ten seconds, or as fast as one processor can.
#[must_use]
pub fn pass_length(flows: u32) -> usize {
    // Two entries a flow.
    (flows / PASSES * 2).max(LEAST_PASS) as usize
}

/// Makes a panic an error: the thread that it ends has the walk, and old flows would stay.
fn guarded(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // What a panic can leave undone are the walk's counts and its place, which begin anew.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(io::Error::other("the walk over translated flows panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_takes_ten_passes() {
        assert_eq!(pass_length(1024), 65_536);
        assert_eq!(pass_length(1 << 16), 65_536);
        assert_eq!(pass_length(1 << 26), 13_421_772);
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = guarded(|| panic!("expected by the test")).expect_err("it panicked");
        assert!(error.to_string().contains("panicked"));
        assert!(guarded(|| Ok(())).is_ok());
    }
}
