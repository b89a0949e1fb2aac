//! One entry: what the tables are, and which frames come.

use std::fmt::{self, Display, Formatter};

use super::super::{LONGEST_FRAME, SHORTEST_FRAME, hex, random::Configuration};

/// Tables and frames. Any bytes are an entry, and most changes of one byte are a small change.
///
/// In bytes: one byte of length and the tables (see [`Configuration::decode`]), then for each
/// frame two bytes of length, big-endian, and the frame. What is cut off counts as far as it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The tables, encoded.
    pub tables: Vec<u8>,
    /// The frames, in their order. A test run takes none that is shorter than
    /// [`SHORTEST_FRAME`] or longer than [`LONGEST_FRAME`]: see [`Entry::frames`].
    pub raw_frames: Vec<Vec<u8>>,
}

impl Entry {
    /// More are not read: an entry is about one thing.
    pub const MOST_FRAMES: usize = 16;

    /// The entry in some bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let Some((length, rest)) = bytes.split_first() else {
            return Self::default();
        };
        let (tables, mut rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let mut raw_frames = Vec::new();
        while let ([high, low, behind @ ..], true) = (rest, raw_frames.len() < Self::MOST_FRAMES) {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (frame, next) = behind.split_at(length.min(behind.len()));
            raw_frames.push(frame.to_vec());
            rest = next;
        }
        Self { tables: tables.to_vec(), raw_frames }
    }

    /// The reverse of [`Entry::decode`], for tables of at most 255 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.tables.len() as u8];
        bytes.extend_from_slice(&self.tables);
        for frame in &self.raw_frames {
            bytes.extend_from_slice(&(frame.len() as u16).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    /// The tables.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        Configuration::decode(&self.tables)
    }

    /// The frames, cut and padded to what a test run takes.
    pub fn frames(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.raw_frames.iter().map(|frame| {
            let mut frame = frame.clone();
            frame.resize(frame.len().clamp(SHORTEST_FRAME, LONGEST_FRAME), 0);
            frame
        })
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.configuration())?;
        self.raw_frames.iter().try_for_each(|frame| writeln!(f, "frame {}", hex(frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_way_there_and_back() {
        for seed in super::super::seeds() {
            assert_eq!(Entry::decode(&seed.encode()), seed);
        }
    }

    #[test]
    fn any_bytes_are_an_entry() {
        let mut rng = fastrand::Rng::with_seed(1);
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
            let entry = Entry::decode(&bytes);
            assert!(!entry.to_string().is_empty());
            assert!(entry.frames().all(|frame| frame.len() >= SHORTEST_FRAME));
        }
        assert_eq!(Entry::decode(&[0, 0, 3, 7]).raw_frames, [[7]]);
    }
}
