//! The ways to send packets to backends that the demo shows.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

/// Which ways to show.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Choice {
    /// Direct routing: only the frame's addresses are rewritten
    L2,
    /// A tunnel: the packet travels inside another one
    Ipip,
    /// One after the other
    All,
}

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    L2,
    Ipip,
}

impl Choice {
    pub(crate) fn forwards(self) -> &'static [Forward] {
        match self {
            Self::L2 => &[Forward::L2],
            Self::Ipip => &[Forward::Ipip],
            Self::All => &[Forward::L2, Forward::Ipip],
        }
    }
}

impl Forward {
    /// The configuration that lbd gets.
    pub(crate) fn config(self) -> PathBuf {
        let name = match self {
            Self::L2 => "demo/l2.toml",
            Self::Ipip => "demo/ipip.toml",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2 (direct routing: only the frame's addresses are rewritten)",
            Self::Ipip => "ipip (a tunnel: the packet travels inside another one)",
        })
    }
}
