//! `TRANSLATIONS`: what becomes of packets with a tuple.

use super::Tuple;
use crate::shared::{SharedU16, SharedU32, SharedU64};

/// What has been seen of a flow in one direction, as bits.
pub mod state {
    /// Any packet.
    pub const SEEN: u32 = 1;
    /// A TCP segment that is part of a connection: neither SYN nor RST.
    pub const CONNECTED: u32 = 1 << 1;
    /// TCP's FIN.
    pub const FIN: u32 = 1 << 2;
    /// TCP's RST, and nothing since.
    pub const RST: u32 = 1 << 3;
    /// The flow counts as one of its backend's, see [`crate::load::Load`].
    pub const COUNTED: u32 = 1 << 4;
    /// The answer to its SYN is waited for, see [`super::Translation::begin_timing`].
    pub const TIMED: u32 = 1 << 5;
    /// The SYN came again before it was answered: which of them the answer is to is not known.
    pub const REPEATED: u32 = 1 << 6;

    /// What the flags of a TCP segment say, RFC 9293 section 3.1.
    #[inline(always)]
    #[must_use]
    pub const fn of_flags(flags: u8) -> u32 {
        if flags & 0x04 != 0 {
            return SEEN | RST;
        }
        let fin = if flags & 0x01 != 0 { FIN } else { 0 };
        let connected = if flags & 0x02 == 0 { CONNECTED } else { 0 };
        SEEN | fin | connected
    }
}

/// One value of `TRANSLATIONS`: 72 bytes.
///
/// All but what has been seen and the way to the client is written before the entry is added, and
/// does not change.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Translation {
    /// The tuple that packets get.
    pub tuple: Tuple,
    /// See [`Translation::delta`].
    delta: u16,
    /// When the flow began, see [`Translation::begin_timing`].
    clock: SharedU16,
    /// Index of the flow's backend.
    pub backend: u16,
    /// The backend's generation when the flow began.
    pub generation: u16,
    /// Identifier of the service.
    pub service: u32,
    /// Tick of the last packet in this direction, and above it what is known of the flow.
    seen: SharedU32,
    interface: SharedU32,
    link_tail: SharedU32,
    link_head: SharedU64,
}

const _: () = assert!(size_of::<Translation>() == 72);

impl Translation {
    /// An entry for packets that get `tuple`; `backend` is its index and generation.
    #[inline(always)]
    #[must_use]
    pub const fn new(tuple: Tuple, delta: u16, service: u32, backend: (u16, u16)) -> Self {
        let (backend, generation) = backend;
        Self {
            tuple,
            delta,
            clock: SharedU16::new(0),
            backend,
            generation,
            service,
            seen: SharedU32::new(0),
            interface: SharedU32::new(0),
            link_tail: SharedU32::new(0),
            link_head: SharedU64::new(0),
        }
    }

    /// The same entry, seen last at this tick and with what `state` says (bits of [`state`]).
    #[inline(always)]
    #[must_use]
    pub fn seen_at(self, now: u16, state: u32) -> Self {
        self.seen.store(u32::from(now) | state << 16);
        self
    }

    /// Takes the time from now, in nanoseconds, to the first answer.
    #[inline(always)]
    pub(super) fn begin_timing(&self, now: u64) {
        self.seen.store(self.seen.load() | state::TIMED << 16);
        self.clock.store(clock(now));
    }

    /// Time from [`Translation::begin_timing`] to now, in microseconds: of the first answer only, to a
    /// sixtieth of a millisecond and as far as a second.
    #[inline(always)]
    pub(super) fn end_timing(&self, now: u64) -> Option<u32> {
        let seen = self.seen.load();
        if seen & state::TIMED << 16 == 0 {
            return None;
        }
        self.seen.store(seen & !(state::TIMED << 16));
        let ticks = clock(now).wrapping_sub(self.clock.load());
        Some(((u64::from(ticks) << CLOCK) / 1000) as u32)
    }

    /// Keeps in mind that the SYN came again, as long as its answer is waited for.
    #[inline(always)]
    pub(super) fn doubt_timing(&self) {
        let seen = self.seen.load();
        if seen & state::TIMED << 16 != 0 {
            self.seen.store(seen | state::REPEATED << 16);
        }
    }

    /// Whether the flow was one of its backend's, and is so no more because of what `bits` say.
    #[inline(always)]
    pub(super) fn end_counting(&self, bits: u32) -> bool {
        let seen = self.seen.load();
        let is_over = bits & (state::FIN | state::RST) != 0 && seen & state::COUNTED << 16 != 0;
        if is_over {
            self.seen.store(seen & !(state::COUNTED << 16));
        }
        is_over
    }

    /// The same value in a place of its own.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            tuple: self.tuple,
            delta: self.delta,
            clock: SharedU16::new(self.clock.load()),
            backend: self.backend,
            generation: self.generation,
            service: self.service,
            seen: SharedU32::new(self.seen.load()),
            interface: SharedU32::new(self.interface.load()),
            link_tail: SharedU32::new(self.link_tail.load()),
            link_head: SharedU64::new(self.link_head.load()),
        }
    }

    /// What the addresses of the new tuple have more than the old ones, as a sum of 16-bit words
    /// in ones' complement: both checksums that cover them change by it, RFC 1624.
    #[inline(always)]
    #[must_use]
    pub const fn delta(&self) -> u32 {
        self.delta as u32
    }

    /// Tick of the last packet in this direction, as [`crate::Tables::now`] counts.
    #[inline(always)]
    #[must_use]
    pub fn seen(&self) -> u16 {
        self.seen.load() as u16
    }

    /// What has been seen in this direction, as bits of [`state`].
    #[inline(always)]
    #[must_use]
    pub fn state(&self) -> u32 {
        self.seen.load() >> 16
    }

    /// Keeps in mind a packet that says `bits` of its flow. Whoever resets a connection and goes on
    /// nevertheless did not reset it: somebody else did.
    #[inline(always)]
    pub(super) fn witness(&self, now: u16, bits: u32) {
        let before = self.seen.load();
        let state = (before >> 16) & !state::RST | bits;
        let after = u32::from(now) | state << 16;
        if after != before {
            self.seen.store(after);
        }
    }

    /// The first twelve bytes of frames to the client.
    #[inline(always)]
    #[must_use]
    pub fn client_link(&self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.link_head.load().to_ne_bytes();
        let [i, j, k, l] = self.link_tail.load().to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Index of the interface towards the client.
    #[inline(always)]
    #[must_use]
    pub fn client_interface(&self) -> u32 {
        self.interface.load()
    }

    /// Replaces the way to the client.
    #[inline(always)]
    pub(super) fn set_client(&self, link: [u8; 12], interface: u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = link;
        self.link_head.store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
        self.link_tail.store(u32::from_ne_bytes([i, j, k, l]));
        self.interface.store(interface);
    }
}

/// Nanoseconds in one unit of the time that a flow's first answer takes, as a shift.
const CLOCK: u32 = 14;

#[inline(always)]
const fn clock(now: u64) -> u16 {
    (now >> CLOCK) as u16
}

/// See [`Translation::delta`].
#[inline(always)]
pub(super) const fn delta(old: &Tuple, new: &Tuple) -> u16 {
    use crate::checksum::fold;

    let less = (!sum(&old.source), !sum(&old.destination));
    let more = sum(&new.source) as u32 + sum(&new.destination) as u32;
    fold(less.0 as u32 + less.1 as u32 + more)
}

/// The sum of an address' 16-bit words, as numbers in the order of the wire. The sum of swapped
/// words is the swapped sum, RFC 1071 section 2.
#[inline(always)]
pub(super) const fn sum(pairs: &[u64; 2]) -> u16 {
    let [a, b] = *pairs;
    let words = (a & 0xffff) + (a >> 16 & 0xffff) + (a >> 32 & 0xffff) + (a >> 48);
    let others = (b & 0xffff) + (b >> 16 & 0xffff) + (b >> 32 & 0xffff) + (b >> 48);
    crate::checksum::fold((words + others) as u32).to_be()
}

#[cfg(test)]
mod tests {
    use super::{super::pairs, *};

    #[test]
    fn a_delta_is_what_sums_differ_by() {
        let tuple = |source: [u8; 16], destination: [u8; 16]| Tuple {
            source: pairs(crate::address::words(source)),
            destination: pairs(crate::address::words(destination)),
            ..Tuple::default()
        };
        let bytes = |start: u8| std::array::from_fn(|index| start.wrapping_mul(index as u8 + 3));
        let [a, b, c, d] = [7, 99, 201, 255].map(bytes);
        let sums = [a, b, c, d].map(|bytes: [u8; 16]| u32::from(crate::checksum::sum(&bytes)));
        let expected = (sums[2] + sums[3] + 2 * 0xffff - sums[0] - sums[1]) % 0xffff;
        assert_eq!(u32::from(delta(&tuple(a, b), &tuple(c, d))) % 0xffff, expected);
    }

    #[test]
    fn the_first_answer_takes_its_time_once() {
        let tuple = Tuple::default();
        let entry = Translation::new(tuple, 0x8001, 1, (2, 3)).seen_at(7, 0);
        entry.begin_timing(5_000_000_000);
        assert_eq!((entry.delta(), entry.seen()), (0x8001, 7));
        entry.witness(8, state::SEEN);
        let latency = entry.end_timing(5_002_000_000).expect("the first answer");
        assert!((1984..=2017).contains(&latency), "{latency} microseconds of 2,000");
        assert_eq!(entry.end_timing(5_003_000_000), None);
        assert_eq!((entry.seen(), entry.state()), (8, state::SEEN));
    }

    #[test]
    fn a_flow_counts_until_its_client_ends_it() {
        let entry = Translation::default().seen_at(7, state::COUNTED);
        assert!(!entry.end_counting(state::SEEN | state::CONNECTED));
        assert!(entry.end_counting(state::FIN));
        assert!(!entry.end_counting(state::FIN), "once");
    }

    #[test]
    fn a_reset_counts_until_its_sender_goes_on() {
        let entry = Translation::default();
        entry.witness(7, state::of_flags(0x10));
        entry.witness(8, state::of_flags(0x14));
        assert_eq!(entry.state(), state::SEEN | state::CONNECTED | state::RST);
        entry.witness(9, state::of_flags(0x11));
        let open = state::SEEN | state::CONNECTED | state::FIN;
        assert_eq!((entry.state(), entry.seen()), (open, 9));
    }
}
