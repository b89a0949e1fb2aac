//! Generations of backends' entries: what was remembered under another one is forgotten.

use super::Tables;

impl Tables {
    /// Makes all flows forgotten that are remembered for an entry: it begins another generation.
    ///
    /// There are 65,536, and the last is only passed through: nobody remembers a flow under it for
    /// longer than the cache is looked through for those of the entry, so that none of them is
    /// found again when its generation returns.
    ///
    /// Translated flows carry the address of their backend themselves. One that has outlived as many
    /// generations goes there, and to nobody else.
    pub(super) fn forget_flows(&self, index: u16) {
        let entry = &self.arrays.backends[usize::from(index)];
        entry.forget_flows();
        if entry.generation() == u16::MAX {
            for set in self.arrays.flows.iter() {
                set.forget(|_, flow| flow.backend == index);
            }
            entry.forget_flows();
        }
    }
}
