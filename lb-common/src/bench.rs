//! What the benchmark's programs and the one who starts them agree on.

/// The one value of `BENCH`: what the driver writes into each packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bench {
    /// Number of flows less one; the number is a power of two.
    pub flow_mask: u32,
    /// Number of the next packet. The driver counts it up.
    pub next: u32,
    /// Packets that were sent on, as far as the driver saw.
    pub sent: u64,
    /// Packets that were passed.
    pub passed: u64,
    /// Packets with any other action.
    pub other: u64,
    /// What translation replaces in the packet: addresses as they stand there, and the
    /// destination's port. Here and not on the stack, where the verifier would tell cases apart.
    pub ends: [u64; 5],
}

/// Address and port of the client of flow `number`: distinct for numbers below 2^32, in an order
/// that no cache foresees.
#[inline(always)]
#[must_use]
pub const fn client(number: u32) -> (u32, u16) {
    let mixed = number.wrapping_mul(0x9e37_79b1);
    (mixed, (mixed >> 16) as u16 ^ number as u16)
}
