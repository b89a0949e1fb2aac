//! `SIGNALS` as the daemon reads it: all backends at once, since it asks once a second.

use std::{
    io,
    iter::Sum,
    ops::AddAssign,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{Ebpf, maps::Map};
use lb_common::signals;

use super::{map_calls, program::LoadError};

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

/// The map of all backends' signals.
#[derive(Debug)]
pub(super) struct SignalsMap {
    map: OwnedFd,
    entries: u32,
    processors: usize,
}

impl SignalsMap {
    const NAME: &str = "SIGNALS";

    /// The map of a loaded object.
    pub(super) fn of(ebpf: &Ebpf) -> Result<Self, LoadError> {
        let Some(Map::PerCpuArray(map)) = ebpf.map(Self::NAME) else {
            return Err(LoadError::Missing(Self::NAME));
        };
        let refused = |source: io::Error| LoadError::Memory { name: Self::NAME, source };
        let entries = map.info().map_err(|error| refused(io::Error::other(error)))?.max_entries();
        let processors = aya::util::nr_cpus().map_err(|(_, source)| refused(source))?;
        let map = map.fd().as_fd().try_clone_to_owned().map_err(refused)?;
        Ok(Self { map, entries, processors })
    }

    /// The signals of one backend.
    pub(super) fn get(&self, index: u16) -> io::Result<Signals> {
        let mut rows = vec![Row::default(); self.processors];
        map_calls::get_into(self.map.as_fd(), &u32::from(index), &mut rows)?;
        Ok(rows.into_iter().map(Signals::from).sum())
    }

    /// The signals of all backends by their index: a call of the kernel for every [`CHUNK`] of them. On
    /// two processors this takes some 0.4 us a backend, a call for each of them more than twice that.
    pub(super) fn all(&self) -> io::Result<Vec<Signals>> {
        let mut all = Vec::with_capacity(self.entries as usize);
        let mut keys = vec![0_u32; CHUNK];
        let mut rows = vec![Row::default(); CHUNK * self.processors];
        let mut begin = None;
        loop {
            let (count, next) = map_calls::walk(self.map.as_fd(), begin, &mut keys, &mut rows)?;
            let values = rows.chunks_exact(self.processors).take(count);
            all.extend(values.map(|rows| rows.iter().copied().map(Signals::from).sum::<Signals>()));
            match next {
                // An array counts its entries, so the last of them may end a call that is full.
                Some(last) if all.len() < self.entries as usize => begin = Some(last),
                _ => return Ok(all),
            }
        }
    }

    /// Starts a backend's signals anew.
    pub(super) fn clear(&self, index: u16) -> io::Result<()> {
        let rows = vec![Row::default(); self.processors];
        map_calls::set_from(self.map.as_fd(), &u32::from(index), &rows)
    }
}

/// Backends that one call reads: 1,024 of them on 16 processors are 768 KiB.
const CHUNK: usize = 1024;
