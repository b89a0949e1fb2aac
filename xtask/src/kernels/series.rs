//! Which kernels there are, and what is asked of each.

use std::fmt::{self, Display, Formatter};

use clap::ValueEnum;

/// A kernel series, as Debian packages it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Series {
    /// Debian 11's, which is too old
    #[value(name = "5.10")]
    TooOld,
    /// Debian 12's, the oldest that lb runs on
    #[value(name = "6.1")]
    Oldest,
    /// Debian 13's
    #[value(name = "6.12")]
    Stable,
    /// The newest that Debian has
    #[value(name = "newest")]
    Newest,
}

/// What lb must do on a kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expectation {
    /// Everything works.
    Works,
    /// lbd refuses to start, in one sentence.
    Refused,
}

/// A part of Debian's archive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Suite {
    /// A release, from the main archive.
    Release(&'static str),
    /// Its security updates, from an archive of their own.
    Security(&'static str),
}

impl Series {
    /// All, from old to new.
    pub(super) const ALL: [Self; 4] = [Self::TooOld, Self::Oldest, Self::Stable, Self::Newest];

    /// What lb must do on it.
    pub(super) fn expectation(self) -> Expectation {
        match self {
            Self::TooOld => Expectation::Refused,
            Self::Oldest | Self::Stable | Self::Newest => Expectation::Works,
        }
    }

    /// Where its package is.
    pub(super) fn suites(self) -> &'static [Suite] {
        match self {
            Self::TooOld => &[Suite::Release("bullseye"), Suite::Security("bullseye-security")],
            Self::Oldest => &[Suite::Release("bookworm"), Suite::Security("bookworm-security")],
            Self::Stable => &[Suite::Release("trixie"), Suite::Security("trixie-security")],
            Self::Newest => &[Suite::Release("sid")],
        }
    }
}

impl Display for Series {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no series is hidden");
        f.write_str(value.get_name())
    }
}
