//! What time it is.

/// What time it is, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of a clock that only goes forward. Everything is decided by it.
    pub clock: u64,
    /// Milliseconds since 1970, which may jump. People are told it, and nothing is decided by it but
    /// what has to do with the hours of the day.
    pub wall: u64,
}

impl Moment {
    /// The hour of the week, 0 to 167, from Thursday midnight on, as 1970 began (UTC).
    #[must_use]
    pub const fn hour_of_week(self) -> u8 {
        const HOUR: u64 = 60 * 60 * 1000;
        const WEEK: u64 = 7 * 24;
        (self.wall / HOUR % WEEK) as u8
    }
}
