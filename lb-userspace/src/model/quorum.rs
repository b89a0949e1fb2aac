//! What a service does when many of its backends are out.

/// What a service does when many of its backends are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Backends of one priority that must be well for their turn to go on; all, where there are fewer.
    pub least: u32,
    /// So many more must be well before a turn that was over begins again.
    pub hysteresis: u32,
    /// Percent of the backends that must be well, or all of them get traffic; 0 is never.
    pub panic_threshold: u8,
    /// What becomes of traffic when none is well.
    pub last_resort: LastResort,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { least: 1, hysteresis: 0, panic_threshold: 0, last_resort: LastResort::None }
    }
}

/// What becomes of a service's traffic when none of its backends is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastResort {
    /// None of them gets any: what `no_backend` says becomes of it.
    None,
    /// All of them get it, as if checks were wrong.
    All,
}
