//! What a backend does with flows.

/// What a backend does with flows, as its entry says.
///
/// Which backend a flow has, slots and the flow cache say; the stance says what that means.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stance {
    /// It takes new ones and keeps those that it has.
    #[default]
    Takes = 0,
    /// It keeps those that it has.
    Keeps = 1,
    /// Those that it has are over: their clients are told so.
    Resets = 2,
}

impl Stance {
    /// The stance with a number; one that is not known keeps what is there.
    #[inline(always)]
    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Takes,
            2 => Self::Resets,
            _ => Self::Keeps,
        }
    }
}
