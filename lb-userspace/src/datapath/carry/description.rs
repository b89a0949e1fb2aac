//! How maps lie in memory, as text that daemons of other versions understand.

use std::collections::BTreeMap;

use lb_common::layout;
use serde::{Deserialize, Serialize};

use super::measure;

/// Where a number lies in a value, or in one of the items that the value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Field {
    /// Its lowest bit, counted from the lowest of the first 64-bit word as the machine reads it.
    pub(super) bit: u32,
    /// How many bits it has: all within one such word.
    pub(super) width: u32,
}

impl Field {
    /// The number in memory of which `word` reads the 64-bit words.
    pub(super) fn read(self, word: impl Fn(usize) -> u64) -> u64 {
        word(self.bit as usize / 64) >> (self.bit % 64) & self.mask()
    }

    /// The field of an item that begins so many bits into the value.
    pub(super) const fn after(self, bits: u32) -> Self {
        Self { bit: self.bit + bits, ..self }
    }

    const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.width)
    }

    /// Whether it lies in each of the items, of so many bits, within one word of the value.
    fn fits(self, items: u32, bits: u32) -> bool {
        let end = u64::from(self.bit) + u64::from(self.width);
        let is_in_word = |item: u32| (self.bit + item * bits) % 64 + self.width <= 64;
        (1..=64).contains(&self.width) && end <= u64::from(bits) && (0..items).all(is_in_word)
    }
}

/// One map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MapDescription {
    /// Bytes of a value.
    pub(super) value: u32,
    /// Items of one kind that a value is made of, each as large as the others.
    pub(super) items: u32,
    /// Fields of an item.
    pub(super) fields: BTreeMap<String, Field>,
}

impl MapDescription {
    /// Bytes of an item.
    pub(super) const fn item(&self) -> u32 {
        match self.value.checked_div(self.items) {
            Some(bytes) => bytes,
            None => 0,
        }
    }
}

/// The maps that one daemon has made.
///
/// Fields are only ever added to it, and maps; a daemon ignores what it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    /// Version of the layout, for people.
    layout: String,
    /// Counts the sets of maps that were made one after the other: the highest is in force.
    pub(super) made: u64,
    /// What is the same only if the number is: how a key is put together, a flow is hashed, time is
    /// counted, an entry is checked.
    meanings: BTreeMap<String, u32>,
    maps: BTreeMap<String, MapDescription>,
}

/// Why maps of an earlier daemon cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::datapath) enum Unreadable {
    /// They come from a version before there were descriptions, or are damaged.
    #[error("they do not say how they lie in memory")]
    Undescribed,
    /// A map cannot be opened.
    #[error("map {name}: {message}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The description has no such field.
    #[error("map {map} has no `{field}`")]
    NoField {
        /// The map.
        map: &'static str,
        /// The field.
        field: &'static str,
    },
    /// Something has another meaning.
    #[error("`{0}` means something else there")]
    OtherMeaning(String),
}

impl Description {
    /// What maps are like that this daemon makes, after so many sets of maps.
    pub(super) fn own(made: u64) -> Self {
        let meanings = [
            ("key", 1),
            ("hash", 1),
            ("check", 1),
            ("phase", 1),
            ("translation", 1),
            ("tick", lb_common::flow::tick(crate::datapath::clock::hz())),
        ];
        Self {
            layout: layout::VERSION.to_owned(),
            made,
            meanings: meanings.map(|(name, number)| (name.to_owned(), number)).into(),
            maps: measure::maps(),
        }
    }

    /// The description as `LAYOUT` holds it: text, then zeros.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        serde_json::from_slice(text).map_err(|_| Unreadable::Undescribed)
    }

    /// The description as text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("names and numbers can be written")
    }

    /// Whether maps of both are the same in every respect.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.meanings, &self.maps) == (&other.meanings, &other.maps)
    }

    /// Whether a map is the same in every respect.
    pub(super) fn has_same(&self, other: &Self, map: &str) -> bool {
        self.maps.get(map) == other.maps.get(map)
    }

    /// Fails where a number would be taken for something else.
    pub(super) fn means_the_same_as(&self, other: &Self) -> Result<(), Unreadable> {
        let differs = |(name, number): &(&String, &u32)| other.meanings.get(*name) != Some(number);
        let other_meaning = self.meanings.iter().find(differs);
        other_meaning.map_or(Ok(()), |(name, _)| Err(Unreadable::OtherMeaning(name.clone())))
    }

    /// A map.
    pub(super) fn map(&self, name: &'static str) -> Result<&MapDescription, Unreadable> {
        self.maps
            .get(name)
            .ok_or_else(|| Unreadable::Map { name, message: "it is not described".to_owned() })
    }

    /// A field of a map, which can be read without a further look.
    pub(super) fn field(
        &self,
        map: &'static str,
        field: &'static str,
    ) -> Result<Field, Unreadable> {
        let described = self.map(map)?;
        let found = described.fields.get(field).copied();
        found
            .filter(|found| found.fits(described.items, 8 * described.item()))
            .ok_or(Unreadable::NoField { map, field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_its_text_and_fits() {
        let own = Description::own(7);
        let text = own.text();
        assert!(layout::Layout::of(&text).is_some(), "{} bytes", text.len());
        let padded = [text.as_bytes(), &[0; 100]].concat();
        assert_eq!(Description::parse(&padded).expect("its own"), own);
        assert!(matches!(Description::parse(&[0; 64]), Err(Unreadable::Undescribed)));
    }

    #[test]
    fn what_is_made_later_is_alike_and_what_means_something_else_is_not() {
        let (own, mut other) = (Description::own(1), Description::own(2));
        assert!(own.is_like(&other) && own.has_same(&other, "FLOWS"));
        other.meanings.insert("hash".to_owned(), 2);
        assert!(!own.is_like(&other));
        let error = own.means_the_same_as(&other).expect_err("another hash").to_string();
        assert_eq!(error, "`hash` means something else there");
    }

    #[test]
    fn a_field_beyond_its_value_is_no_field() {
        let mut own = Description::own(1);
        own.field("SLOTS", "current").expect("there");
        for (bit, width) in [(24, 16), (32, 1), (u32::MAX, 8), (0, 0), (0, 65)] {
            let slots = own.maps.get_mut("SLOTS").expect("there");
            slots.fields.insert("current".to_owned(), Field { bit, width });
            let found = own.field("SLOTS", "current");
            assert!(found.is_err(), "{bit} {width}: {found:?}");
        }
        assert!(matches!(own.field("SLOTS", "mood"), Err(Unreadable::NoField { .. })));
    }
}
