//! Keyed hashing of addresses to places, slots and flow sets.
//!
//! Two or three 64-bit multiplications by secret odd numbers with xor-folds between them: about
//! 4 ns in the kernel, where SipHash-1-3 costs 13. All load balancers of a group use the same key.

/// The secret that keys every hash. The same on all nodes of a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey {
    add: [u64; 2],
    multiply: [u64; 2],
}

const FINAL: u64 = 0x9fb2_1c65_1e98_df25;

impl HashKey {
    /// Derives the key from a secret of any length.
    ///
    /// FNV-1a absorbs the bytes, SplitMix64 (Steele, Lea, Flood 2014) spreads them. The derivation
    /// is part of the contract between nodes: another one would send every flow elsewhere.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let absorb = |offset: u64| {
            secret
                .iter()
                .fold(offset, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        };
        // Two differently started passes, so that the state is 128 bits wide.
        let mut left = absorb(0xcbf2_9ce4_8422_2325);
        let mut right = absorb(0x6c62_272e_07bb_0142);
        let mut next = || {
            right = right.wrapping_add(0x632b_e59b_d9b4_e019);
            left = left.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ right.rotate_left(23);
            spread(left)
        };
        Self { add: [next(), next()], multiply: [next() | 1, next() | 1] }
    }

    /// Hash of what a client addresses: `word` as in [`crate::ServiceKey::word`], `rest` the last
    /// 96 bits of an IPv6 address, zero for IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self, word: u64) -> u64 {
        fold((word ^ self.add[0]).wrapping_mul(self.multiply[0]))
    }

    /// Folds 64 more bits into a hash.
    #[inline(always)]
    #[must_use]
    pub const fn absorb(&self, hash: u64, word: u64) -> u64 {
        fold((hash ^ word).wrapping_mul(self.multiply[1]))
    }

    /// Hash of the whole flow from the destination's hash and the client's first word.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self, destination: u64, source: u64) -> u64 {
        let source = fold((source ^ self.add[1]).wrapping_mul(self.multiply[1]));
        fold((destination ^ source).wrapping_mul(FINAL))
    }
}

/// The two places of a service whose destination hash is `hash`, in a table of `mask + 1`, 2^20 at
/// most.
///
/// The highest bits, since a product's bits depend on no higher ones of its factors: the protocol
/// stands in bits 48 to 55 of a key's first word.
#[inline(always)]
#[must_use]
pub const fn places(hash: u64, mask: u32) -> [u32; 2] {
    [(hash >> 44) as u32 & mask, (hash.wrapping_mul(FINAL) >> 44) as u32 & mask]
}

/// SplitMix64's finaliser: a bijection in which every input bit moves every output bit.
#[must_use]
pub const fn spread(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[inline(always)]
const fn fold(word: u64) -> u64 {
    word ^ (word >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: &HashKey, client: u64) -> usize {
        (key.flow(key.destination(0x0a00_0001), client) & 63) as usize
    }

    #[test]
    fn keys_differ_by_secret_and_repeat() {
        assert_eq!(HashKey::derive(b"one"), HashKey::derive(b"one"));
        assert_ne!(HashKey::derive(b"one"), HashKey::derive(b"two"));
        assert_ne!(HashKey::derive(b""), HashKey::derive(b"\0"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "statistics over millions of hashes, which touch no memory")]
    fn flows_that_collide_under_one_key_spread_under_another() {
        let (one, two) = (HashKey::derive(b"one"), HashKey::derive(b"two"));
        let mut load = [0_u32; 64];
        (0..6_400_000_u64)
            .filter(|client| slot(&one, *client) == 7)
            .for_each(|client| load[slot(&two, client)] += 1);
        let total: u32 = load.iter().sum();
        let fullest = *load.iter().max().expect("64 slots");
        assert!(total > 90_000, "{total}");
        assert!(f64::from(fullest) * 64.0 / f64::from(total) < 1.1, "{load:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "statistics over millions of hashes, which touch no memory")]
    fn sequential_ports_and_addresses_spread() {
        let key = HashKey::derive(b"spread");
        for step in [1_u64, 1 << 16, 1 << 24, 1 << 32, 1 << 40] {
            let mut load = [0_u32; 64];
            (0..64_000_u64).for_each(|i| load[slot(&key, i.wrapping_mul(step))] += 1);
            let distinct = if step == 1 << 40 { 200 } else { 800 };
            assert!(load.iter().all(|n| *n > distinct), "step {step}: {load:?}");
        }
    }
}
