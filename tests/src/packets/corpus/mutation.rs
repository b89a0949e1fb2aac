//! Changes of entries that keep their form: what bytes alone would rarely find.

use fastrand::Rng;

use super::{
    super::random::{Configuration, mutate},
    Entry,
};

/// Changes an entry. `scramble` changes bytes without knowing what they mean.
pub fn change(rng: &mut Rng, entry: &mut Entry, mut scramble: impl FnMut(&mut Vec<u8>)) {
    let frames = &mut entry.raw_frames;
    if frames.is_empty() || (rng.u8(..10) == 0 && frames.len() < Entry::MOST_FRAMES) {
        frames.extend(fitting_frame(rng, &entry.tables));
        return;
    }
    let at = rng.usize(..frames.len());
    match rng.u8(..12) {
        0 => scramble(&mut entry.tables),
        1 => {
            let byte = rng.usize(..=entry.tables.len().min(64));
            entry.tables.resize(entry.tables.len().max(byte + 1), 0);
            entry.tables[byte] = rng.u8(..);
        }
        2 if frames.len() > 1 => drop(frames.remove(at)),
        3 if frames.len() < Entry::MOST_FRAMES => frames.push(frames[at].clone()),
        4 => {
            let other = rng.usize(..frames.len());
            frames.swap(at, other);
        }
        5..=7 => scramble(&mut frames[at]),
        _ => {
            let others = frames.clone();
            for _ in 0..rng.u8(1..4) {
                mutate(rng, &mut frames[at], &others);
            }
        }
    }
    entry.tables.truncate(usize::from(u8::MAX));
}

/// A frame to one of the services, or to none, in one of its forms.
fn fitting_frame(rng: &mut Rng, tables: &[u8]) -> Option<Vec<u8>> {
    let mut frames = Configuration::decode(tables).with_clients(rng).frames(rng);
    (!frames.is_empty()).then(|| frames.swap_remove(rng.usize(..frames.len())))
}
