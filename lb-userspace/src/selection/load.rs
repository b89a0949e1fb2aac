//! How many slots each member has, should have and may have.

use super::bounds::Bounds;

/// How far below its share a member may come, in percent, beyond what the base leaves it short of.
const BELOW: u64 = 2;
/// How far below its share the base may leave a member, in percent: where members are few, people
/// look at shares; where they are many, evening out moves more at each change than it is worth.
const fn base_below(slots: usize) -> u64 {
    /// Slots for 64 members.
    const FEW: usize = 1 << 14;

    if slots <= FEW { 1 } else { 10 }
}
/// Shares, in percent, at which a member of the base is on every list that it is drawn for, and on
/// none. Measured: between these, pools in which members come and go move least.
const LISTED: (u64, u64) = (90, 106);

/// The load of each member, in slots.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) have: Vec<u32>,
    exact: Vec<u32>,
    most: Vec<u32>,
    least: Vec<u32>,
    /// How often the member is on a list that it is drawn for, of 2^16 times.
    listed: Vec<u32>,
}

impl Load {
    /// The load while the base is made.
    pub(super) fn of_base(owners: &[u16], bounds: Bounds) -> Self {
        let below = base_below(owners.len());
        let least = |exact: &u32| (u64::from(*exact) * (100 - below)).div_ceil(100) as u32;
        Self {
            have: count(owners, bounds.exact.len()),
            least: bounds.exact.iter().map(least).collect(),
            listed: vec![1 << 16; bounds.exact.len()],
            exact: bounds.exact,
            most: bounds.most,
        }
    }

    /// The load of now. `base` are the exact shares that the base was made for.
    pub(super) fn of_now(owners: &[u16], base: &[u32], bounds: Bounds) -> Self {
        let have = count(owners, base.len());
        let below = base_below(owners.len());
        let least = |((exact, have), base): ((&u32, &u32), &u32)| {
            let (exact, have, base) = (u64::from(*exact), u64::from(*have), u64::from(*base));
            // Who is short in the base may remain so in proportion, but a slot that is missing there
            // by rounding does not grow with the weight.
            let least = exact * (100 - below) / 100;
            let kept = if have < base { (exact * have / base).max(least) } else { exact };
            (kept * (100 - BELOW)).div_ceil(100) as u32
        };
        let listed = |(have, base): (&u32, &u32)| {
            let (have, base) = (u64::from(*have), u64::from(*base).max(1));
            let (all, none) = LISTED;
            let left = (none * base).saturating_sub(100 * have);
            ((left << 16) / ((none - all) * base)).min(1 << 16) as u32
        };
        Self {
            least: bounds.exact.iter().zip(&have).zip(base).map(least).collect(),
            listed: have.iter().zip(base).map(listed).collect(),
            have,
            exact: bounds.exact,
            most: bounds.most,
        }
    }

    pub(super) fn has_room(&self, member: u16) -> bool {
        self.have[usize::from(member)] < self.most[usize::from(member)]
    }

    pub(super) fn is_short(&self, member: u16) -> bool {
        self.have[usize::from(member)] < self.least[usize::from(member)]
    }

    pub(super) fn is_listed(&self, member: u16, drawn: u16) -> bool {
        u32::from(drawn) < self.listed[usize::from(member)]
    }

    /// Slots that members must still get to have their least.
    pub(super) fn shortage(&self) -> u32 {
        self.have.iter().zip(&self.least).map(|(have, least)| least.saturating_sub(*have)).sum()
    }

    /// Slots that each must give: what it has above its most, and of those above their exact shares
    /// as much more as others are short of.
    pub(super) fn surplus(&self) -> Vec<u32> {
        let above = |bound: &[u32]| -> Vec<u32> {
            self.have.iter().zip(bound).map(|(have, bound)| have.saturating_sub(*bound)).collect()
        };
        let mut surplus = above(&self.most);
        let mut missing = self.shortage().saturating_sub(surplus.iter().sum());
        for (given, above) in surplus.iter_mut().zip(above(&self.exact)) {
            let more = (above - *given).min(missing);
            *given += more;
            missing -= more;
        }
        surplus
    }

    pub(super) fn first_with_share(&self) -> u16 {
        self.exact.iter().position(|share| *share > 0).unwrap_or(0) as u16
    }
}

fn count(owners: &[u16], members: usize) -> Vec<u32> {
    let mut have = vec![0; members];
    for owner in owners {
        have[usize::from(*owner)] += 1;
    }
    have
}
