//! What the map `SIGNALS` has of a backend.

use std::{iter::Sum, ops::AddAssign};

use lb_common::signals;

/// What packets have told of a backend's health, since it got its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// SYN that it answered by SYN and ACK.
    pub syn_acks: u64,
    /// SYN that it answered by RST: nobody listens.
    pub resets: u64,
    /// ICMP errors, other than those about a packet's length, that say of a packet to it that its
    /// destination is unreachable.
    pub unreachables: u64,
    /// SYN that came again, of flows that are remembered or translated. They count as new flows too,
    /// see [`lb_common::Counters::new_flows`].
    pub repeats: u64,
    /// Those of `syn_acks` whose time is known: of a SYN that came once, and within a second.
    pub handshakes: u64,
    /// The sum of these times, SYN to SYN and ACK, in microseconds; each to 16 of them.
    pub handshake_micros: u64,
}

/// What a CPU counts, in the order of [`signals::Signals`].
type Row = [u64; 6];

const _: () = assert!(size_of::<Row>() == size_of::<signals::Signals>());

impl From<Row> for Signals {
    fn from(row: Row) -> Self {
        let [syn_acks, resets, unreachables, repeats, handshakes, handshake_micros] = row;
        Self { syn_acks, resets, unreachables, repeats, handshakes, handshake_micros }
    }
}

impl AddAssign for Signals {
    fn add_assign(&mut self, other: Self) {
        self.syn_acks += other.syn_acks;
        self.resets += other.resets;
        self.unreachables += other.unreachables;
        self.repeats += other.repeats;
        self.handshakes += other.handshakes;
        self.handshake_micros += other.handshake_micros;
    }
}

impl Sum for Signals {
    fn sum<I: Iterator<Item = Self>>(signals: I) -> Self {
        signals.fold(Self::default(), |mut sum, signals| {
            sum += signals;
            sum
        })
    }
}
