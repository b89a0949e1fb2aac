//! Random frames.

use fastrand::Rng;

use super::{mutation::mutate, once_in, one_of};
use crate::packets::{ETHERNET, LONGEST_FRAME, SHORTEST_FRAME};

/// An endless supply of frames that are like some that make sense.
#[derive(Debug)]
pub struct Frames {
    sound: Vec<Vec<u8>>,
}

impl Frames {
    /// Frames like these, of which there is one at least.
    #[must_use]
    pub fn like(sound: Vec<Vec<u8>>) -> Self {
        assert!(!sound.is_empty(), "nothing to be like");
        Self { sound }
    }

    /// A frame as it is, with a few changes, with many, or of random bytes: in about the order of
    /// how deep into the program they get.
    pub fn next(&self, rng: &mut Rng) -> Vec<u8> {
        let mut frame = self.sound[rng.usize(..self.sound.len())].clone();
        let changes = match rng.u8(..20) {
            0..=7 => 0,
            8..=13 => 1,
            14..=17 => rng.u8(2..4),
            18 => rng.u8(4..12),
            _ => return noise(rng),
        };
        for _ in 0..changes {
            mutate(rng, &mut frame, &self.sound);
        }
        frame.truncate(LONGEST_FRAME);
        let missing = SHORTEST_FRAME.saturating_sub(frame.len());
        frame.extend(std::iter::repeat_n(0, missing));
        frame
    }
}

/// Random bytes that claim to be a packet.
fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut frame = vec![0; rng.usize(SHORTEST_FRAME..120)];
    rng.fill(&mut frame);
    if !once_in(rng, 8) {
        let [ether_type @ .., first] = one_of(rng, &[[8, 0, 0x45], [0x86, 0xdd, 0x60]]);
        frame[12..ETHERNET].copy_from_slice(&ether_type);
        if let Some(byte) = frame.get_mut(ETHERNET) {
            *byte = first;
        }
    }
    frame
}
