//! `SIGNALS`: what packets tell of the health of backends, where they pass by.

use core::cell::Cell;

use crate::packet::{ACK, RST, SYN};

/// One value of `SIGNALS`, by index of the backend, a CPU's own: 48 bytes.
///
/// What clients send passes by in every mode; what backends send only where addresses are translated,
/// and of that the first answers alone are looked at, for policies with
/// [`crate::policy::flag::WATCHED`] or a scheduler that asks how long answers take.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// SYN that the backend answered by SYN and ACK.
    pub syn_acks: Cell<u64>,
    /// SYN that the backend answered by RST: nobody listens.
    pub resets: Cell<u64>,
    /// ICMP errors that say of a translated flow's packet that its destination is unreachable.
    pub unreachables: Cell<u64>,
    /// SYN that came again, of flows that are remembered or translated.
    pub repeats: Cell<u64>,
    /// Those of `syn_acks` whose time is known.
    pub handshakes: Cell<u64>,
    /// The sum of these times, SYN to SYN and ACK, in microseconds.
    pub handshake_micros: Cell<u64>,
}

const _: () = assert!(size_of::<Signals>() == 48);

impl Signals {
    /// Counts the first answer to a SYN by its flags of TCP. `micros` is how long it took, if that is
    /// certain.
    #[inline(always)]
    pub fn answer(&self, flags: u8, micros: Option<u32>) {
        if flags & RST != 0 {
            add(&self.resets, 1);
        } else if flags & (SYN | ACK) == SYN | ACK {
            add(&self.syn_acks, 1);
            if let Some(micros) = micros {
                add(&self.handshakes, 1);
                add(&self.handshake_micros, u64::from(micros));
            }
        }
    }

    /// Counts an error of a packet's that does not get there.
    #[inline(always)]
    pub fn unreachable(&self) {
        add(&self.unreachables, 1);
    }

    /// Counts a SYN that came again.
    #[inline(always)]
    pub fn repeat(&self) {
        add(&self.repeats, 1);
    }
}

#[inline(always)]
fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_a_syn_count() {
        let signals = Signals::default();
        for flags in [0, ACK, SYN, ACK | 1] {
            signals.answer(flags, Some(7));
        }
        assert_eq!(signals, Signals::default());
        signals.answer(SYN | ACK, Some(7));
        signals.answer(SYN | ACK, None);
        signals.answer(RST | ACK, Some(7));
        signals.answer(RST, None);
        let Signals { syn_acks, resets, handshakes, handshake_micros, .. } = &signals;
        let counted = [syn_acks, resets, handshakes, handshake_micros].map(Cell::get);
        assert_eq!(counted, [2, 2, 1, 7]);
    }
}
