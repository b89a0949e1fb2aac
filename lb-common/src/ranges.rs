//! `RANGES`: services on ranges of ports, by address and protocol.

use crate::{service::SERVICE_RANGES, shared::SharedU32};

/// One value of `RANGES`: the port ranges of one address and protocol, 64 bytes. Ranges do not
/// overlap; a line never changes while an entry names it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RangeLine {
    /// `first | last << 16`; zero is unused.
    ranges: [SharedU32; SERVICE_RANGES],
}

const _: () = assert!(size_of::<RangeLine>() == 64);

impl RangeLine {
    /// A line of these ranges, first and last port of each; those beyond the sixteenth are left
    /// out.
    #[must_use]
    pub fn new(ranges: &[(u16, u16)]) -> Self {
        let line = Self::default();
        for (cell, (first, last)) in line.ranges.iter().zip(ranges) {
            cell.store(u32::from(*first) | u32::from(*last) << 16);
        }
        line
    }

    /// The first port of the range that holds `port`, which names the range's service.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, port: u16) -> Option<u16> {
        let mut index = 0;
        while index < SERVICE_RANGES {
            let range = self.ranges[index].load();
            let (first, last) = (range as u16, (range >> 16) as u16);
            if range != 0 && first <= port && port <= last {
                return Some(first);
            }
            index += 1;
        }
        None
    }

    /// Its ranges.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let words = self.ranges.iter().map(SharedU32::load);
        words.filter(|word| *word != 0).map(|word| (word as u16, (word >> 16) as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_a_range() {
        let line = RangeLine::new(&[(1000, 1999), (3000, 3000), (60_000, 65_535)]);
        for (port, expected) in [
            (999, None),
            (1000, Some(1000)),
            (1999, Some(1000)),
            (2000, None),
            (3000, Some(3000)),
            (65_535, Some(60_000)),
            (0, None),
        ] {
            assert_eq!(line.find(port), expected, "{port}");
        }
        assert_eq!(RangeLine::default().find(0), None);
        assert_eq!(line.iter().count(), 3);
    }
}
