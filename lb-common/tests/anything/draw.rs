//! Random numbers that come again for a seed, and values made of them.

use lb_common::hash::spread;

/// Bytes that mean something somewhere: zero and one, protocols, versions, flags, the last ones.
const TELLING: [u8; 16] = [0, 0, 0, 1, 1, 2, 3, 4, 6, 17, 0x40, 0x45, 0x60, 0x80, 0xfe, 0xff];

/// A source of numbers: SplitMix64, Steele, Lea, Flood 2014.
pub(crate) struct Draw(u64);

impl Draw {
    /// A source that begins with a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(spread(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        spread(self.0)
    }

    /// A number below a bound that is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// One of the values.
    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A byte, which often means something.
    pub(crate) fn byte(&mut self) -> u8 {
        let any = self.number() as u8;
        if any & 1 == 0 { self.one_of(&TELLING) } else { (self.number() >> 8) as u8 }
    }

    /// A table's value of any bits.
    pub(crate) fn value<T: AnyBits>(&mut self) -> T {
        let mut value = T::default();
        let bytes = (&raw mut value).cast::<u8>();
        for offset in 0..size_of::<T>() {
            // SAFETY: inside of `value`, which takes any bits.
            unsafe { bytes.add(offset).write(self.byte()) };
        }
        value
    }

    /// So many of them, or fewer.
    pub(crate) fn values<T: AnyBits>(&mut self, most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.value()).collect()
    }
}

/// A value of a map.
///
/// # Safety
///
/// It is made of numbers alone, so that any bits are a value.
pub(crate) unsafe trait AnyBits: Default {}

macro_rules! any_bits {
    ($($name:ty),+ $(,)?) => { $(
        // SAFETY: the value of a map, which is read as whatever bytes the map holds.
        unsafe impl AnyBits for $name {}
    )+ };
}

any_bits!(
    lb_common::Backend,
    lb_common::FlowSet,
    lb_common::Service,
    lb_common::Settings,
    lb_common::SlotLine,
    lb_common::bucket::Bucket,
    lb_common::bucket::SourceBuckets,
    lb_common::policy::Policy,
    lb_common::ranges::RangeLine,
);
