//! Changes that make a sound frame unsound, or another sound one.

use fastrand::Rng;

use super::one_of;
use crate::packets::{ETHERNET, ip_offset};

/// Bytes behind which headers end in most sound frames: three tags, two IP headers, ICMP's and
/// TCP's.
const HEADERS: usize = ETHERNET + 12 + 40 + 60 + 8 + 20;

const BYTES: [u8; 26] = [
    0, 1, 2, 3, 4, 6, 8, 11, 17, 41, 43, 44, 51, 58, 60, 0x10, 0x40, 0x45, 0x46, 0x4f, 0x50, 0x60,
    0x7f, 0x80, 0xf0, 0xff,
];
const WORDS: [u16; 20] =
    [0, 1, 7, 8, 9, 19, 20, 21, 27, 28, 39, 40, 41, 59, 60, 1280, 1500, 0x7fff, 0x8000, 0xffff];
const ETHER_TYPES: [u16; 6] = [0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806, 0x0801];
const PROTOCOLS: [u8; 12] = [0, 1, 4, 6, 17, 41, 43, 44, 51, 58, 60, 132];

/// Changes a frame a little. `others` are frames to take parts from.
pub fn mutate(rng: &mut Rng, frame: &mut Vec<u8>, others: &[Vec<u8>]) {
    let (at, ip) = (place(rng, frame), ip_offset(frame));
    match rng.u8(..16) {
        0..=2 => set(frame, at, |byte| byte ^ 1 << rng.u8(..8)),
        3 => set(frame, at, |_| rng.u8(..)),
        4 => set(frame, at, |_| one_of(rng, &BYTES)),
        5 => frame.truncate(rng.usize(..=frame.len())),
        6 => {
            let more = rng.usize(1..80);
            frame.extend((0..more).map(|_| rng.u8(..)));
        }
        7 => put(frame, at, one_of(rng, &WORDS)),
        8 => lie_about_length(rng, frame, ip),
        9 => lie_about_transport(rng, frame, ip),
        10 => {
            // IPv4's flags and offset, or those of a fragment header behind IPv6's.
            let field = ip + one_of(rng, &[6, 6, 42]);
            put(frame, field, one_of(rng, &[0x2000, 0x4000, 0x8000, 0, 1, 8, 9, 0x1fff]));
        }
        11 => set(frame, ip + one_of(rng, &[6, 9, 40]), |_| one_of(rng, &PROTOCOLS)),
        12 => put(frame, ip - 2, one_of(rng, &ETHER_TYPES)),
        13 => {
            let other = &others[rng.usize(..others.len())];
            let end = place(rng, other).min(frame.len());
            let start = at.min(end);
            frame[start..end].copy_from_slice(&other[start..end]);
        }
        14 => {
            let more = one_of(rng, &[1, 4, 8, 20]);
            let at = at.min(frame.len());
            frame.splice(at..at, (0..more).map(|_| rng.u8(..)));
        }
        _ => {
            let end = frame.len().min(at + one_of(rng, &[1, 4, 8, 20]));
            frame.drain(at.min(end)..end);
        }
    }
}

/// A byte among the headers.
fn place(rng: &mut Rng, frame: &[u8]) -> usize {
    rng.usize(..frame.len().clamp(1, HEADERS))
}

fn set(frame: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = frame.get_mut(at) {
        *byte = change(*byte);
    }
}

fn put(frame: &mut [u8], at: usize, word: u16) {
    if let Some(bytes) = frame.get_mut(at..at + 2) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

/// A length about right, or far off, in the field of either family.
fn lie_about_length(rng: &mut Rng, frame: &mut [u8], ip: usize) {
    let about = (frame.len() as u16)
        .wrapping_sub(one_of(rng, &[14, 34, 54]))
        .wrapping_add(one_of(rng, &[0, 1, 2, 20, 40]))
        .wrapping_sub(one_of(rng, &[0, 1, 2, 20, 40]));
    let far = one_of(rng, &WORDS);
    let length = one_of(rng, &[about, about, far]);
    put(frame, ip + one_of(rng, &[2, 4]), length);
}

/// Header length of IPv4 or TCP, or length of UDP.
fn lie_about_transport(rng: &mut Rng, frame: &mut [u8], ip: usize) {
    let transport = ip + one_of(rng, &[20, 24, 40, 60]);
    match rng.u8(..3) {
        0 => set(frame, ip, |byte| byte & 0xf0 | rng.u8(..16)),
        1 => set(frame, transport + 12, |_| rng.u8(..)),
        _ => {
            let about = (frame.len() - transport.min(frame.len())) as u16;
            let about = about.wrapping_add(one_of(rng, &[0, 1, 2, u16::MAX, u16::MAX - 1]));
            let far = one_of(rng, &WORDS);
            put(frame, transport + 4, one_of(rng, &[about, far]));
        }
    }
}
