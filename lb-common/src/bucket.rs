//! `BUCKETS` and `SOURCE_BUCKETS`: token buckets that limit how fast flows begin.
//!
//! A bucket is one word, written without a lock: two processors that take at the same moment may
//! be given one token. A limit holds within that.

use crate::shared::SharedU64;

/// How fast tokens come, and how many a bucket holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Tokens in one of the kernel's clock ticks (jiffies), in 65,536ths.
    pub per_jiffy: u32,
    /// Tokens in a full bucket, at most 2^24 - 1.
    pub burst: u32,
}

/// Bits of a word that hold the tokens, in 65,536ths.
const TOKENS: u32 = 40;
/// Bits of the time: 2.3 hours at 1,000 Hz. A source that comes back later than that finds its
/// bucket as if the whole rounds had not passed.
const TIME: u32 = 23;
const TIME_MASK: u64 = (1 << TIME) - 1;
const USED: u64 = 1 << 63;

/// A token bucket. One of zeros is full.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Bucket(SharedU64);

impl Bucket {
    /// Takes a token out of the bucket, if there is one. `now` is in the kernel's clock ticks.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, now: u64, rate: Rate) -> bool {
        let word = self.0.load();
        let full = u64::from(rate.burst) << 16;
        let tokens = if word & USED == 0 {
            full
        } else {
            let passed = now.wrapping_sub(word >> TOKENS) & TIME_MASK;
            let tokens = (word & ((1 << TOKENS) - 1)) + passed.wrapping_mul(rate.per_jiffy.into());
            if tokens > full { full } else { tokens }
        };
        let is_granted = tokens >= 1 << 16;
        let left = if is_granted { tokens - (1 << 16) } else { tokens };
        self.0.store(USED | (now & TIME_MASK) << TOKENS | left);
        is_granted
    }

    /// A bucket as full as this one is now.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(SharedU64::new(self.0.load()))
    }

    /// How long ago a token was last asked for; an unused bucket is older than any.
    #[inline(always)]
    fn idle(&self, now: u64) -> u64 {
        let word = self.0.load();
        if word & USED == 0 { u64::MAX } else { now.wrapping_sub(word >> TOKENS) & TIME_MASK }
    }
}

const WAYS: usize = 4;

#[repr(C)]
#[derive(Debug, Default)]
struct SourceBucket {
    tag: SharedU64,
    bucket: Bucket,
}

/// One value of `SOURCE_BUCKETS`: the buckets of four sources, 64 bytes.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SourceBuckets {
    ways: [SourceBucket; WAYS],
}

const _: () = assert!(size_of::<SourceBuckets>() == 64);

impl SourceBuckets {
    /// Number of sources in a set.
    pub const SOURCES: u32 = WAYS as u32;

    /// Takes a token out of the bucket of the source whose hash is `source`. One that has none
    /// gets that of the source that has asked least lately: the fullest, or nearly.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, source: u64, now: u64, rate: Rate) -> bool {
        let tag = source | USED;
        let (mut chosen, mut longest, mut way) = (0, 0, 0);
        while way < WAYS {
            if self.ways[way].tag.load() == tag {
                return self.ways[way].bucket.take(now, rate);
            }
            let idle = self.ways[way].bucket.idle(now);
            if idle > longest {
                (chosen, longest) = (way, idle);
            }
            way += 1;
        }
        // The mask shows the verifier that the place is in bounds.
        let place = &self.ways[chosen & (WAYS - 1)];
        place.tag.store(tag);
        place.bucket.0.store(0);
        place.bucket.take(now, rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Rate = Rate { per_jiffy: 1 << 14, burst: 3 };

    fn granted(take: impl Fn() -> bool) -> usize {
        (0..10).filter(|_| take()).count()
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_its_rate() {
        let bucket = Bucket::default();
        assert_eq!(granted(|| bucket.take(1000, SLOW)), 3);
        assert_eq!(granted(|| bucket.take(1003, SLOW)), 0);
        assert_eq!(granted(|| bucket.take(1004, SLOW)), 1);
        assert_eq!(granted(|| bucket.take(1_000_000, SLOW)), 3, "never more than a full bucket");
    }

    #[test]
    fn the_clock_may_wrap() {
        let bucket = Bucket::default();
        assert_eq!(granted(|| bucket.take(TIME_MASK - 1, SLOW)), 3);
        assert_eq!(granted(|| bucket.take(TIME_MASK + 7, SLOW)), 2);
    }

    #[test]
    fn an_empty_rate_grants_nothing() {
        assert!(!Bucket::default().take(0, Rate::default()));
    }

    #[test]
    fn sources_have_buckets_of_their_own() {
        let set = SourceBuckets::default();
        for source in 1..=4 {
            assert_eq!(granted(|| set.take(source, 10 + source, SLOW)), 3, "source {source}");
        }
        assert_eq!(granted(|| set.take(2, 14, SLOW)), 0);
        assert_eq!(granted(|| set.take(5, 14, SLOW)), 3, "in the place of source 1");
        assert_eq!(granted(|| set.take(1, 15, SLOW)), 3, "which is forgotten");
    }
}
