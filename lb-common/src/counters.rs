//! `SERVICE_COUNTERS` and `BACKEND_COUNTERS`: traffic by service and backend, one copy a CPU.

/// What was sent on, one CPU's share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets from the client's IP header on, without tunnel headers.
    pub bytes: u64,
    /// TCP packets with SYN and without ACK, which is how flows begin. UDP has no such mark.
    pub new_flows: u64,
}

impl Counters {
    /// Counts one packet.
    #[inline(always)]
    pub const fn count(&mut self, packet: Self) {
        self.packets += packet.packets;
        self.bytes += packet.bytes;
        self.new_flows += packet.new_flows;
    }
}

impl core::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), |mut total, counters| {
            total.count(counters);
            total
        })
    }
}
