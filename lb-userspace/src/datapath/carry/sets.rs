//! Which maps there are: those in force, and those of starts that were cut short.

use std::path::{Path, PathBuf};

use lb_common::layout::Layout;

use super::{
    description::{Description, Unreadable},
    former::Former,
    raw::RawArray,
};
use crate::datapath::{mapped::Mapped, pins::Pins};

/// Maps that one daemon has made, complete and perhaps in use.
#[derive(Debug)]
pub(in crate::datapath) struct MapSet {
    /// Their directory.
    pub(in crate::datapath) maps: PathBuf,
    description: Option<Description>,
}

impl MapSet {
    /// All that there are, the latest first: its tables are in force, or as good as those that are,
    /// since what was in force before it was copied to it. Packets of some interfaces may still use
    /// others.
    pub(in crate::datapath) fn all(pins: &Pins) -> Vec<Self> {
        let mut sets: Vec<Self> = pins.sets_of_maps().into_iter().map(Self::read).collect();
        sets.sort_by_key(|set| std::cmp::Reverse(set.made()));
        sets
    }

    fn read(maps: PathBuf) -> Self {
        let description = RawArray::open(&maps.join("LAYOUT")).ok();
        let description = description.filter(|layout| layout.len() > 0);
        let description = description.and_then(|layout| Description::parse(&layout.bytes(0)).ok());
        Self { maps, description }
    }

    fn made(&self) -> u64 {
        self.description.as_ref().map_or(0, |description| description.made)
    }

    /// Whether they lie in memory as those do that this daemon makes.
    pub(in crate::datapath) fn is_own(&self) -> bool {
        self.description.as_ref().is_some_and(|theirs| theirs.is_like(&Description::own(0)))
    }

    /// Opens them to read them.
    pub(in crate::datapath) fn open(&self) -> Result<Former, Unreadable> {
        let description = self.description.as_ref().ok_or(Unreadable::Undescribed)?;
        Former::open(&self.maps, description)
    }
}

/// Writes into new maps what they are like; they come after all others.
pub(in crate::datapath) fn describe(layout: &mut Mapped<Layout>, others: &[MapSet]) {
    let made = others.iter().map(MapSet::made).max().unwrap_or(0) + 1;
    let text = Description::own(made).text();
    let value = Layout::of(&text).expect("it fits, as a test shows");
    layout.replace(0, value);
}

/// Lets packets of new maps find the translated flows of those that they take the place of, by
/// having the map in both. False where that cannot be; then entries are copied.
pub(in crate::datapath) fn share_translations(
    former: &Former,
    from: &Path,
    to: &Path,
    limits: &crate::config::Limits,
) -> bool {
    let is_same = former
        .translations()
        .is_some_and(|translations| translations.capacity() == limits.nat_flows);
    if !is_same || !super::plant::keeps_numbers(former, limits) {
        return false;
    }
    let name = "TRANSLATIONS";
    aya::maps::MapData::from_pin(from.join(name)).is_ok_and(|map| map.pin(to.join(name)).is_ok())
}
