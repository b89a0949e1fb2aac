//! The ports that clients reach.

use std::{fmt, str::FromStr};

/// Checked ports of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ports {
    /// One.
    Exact(u16),
    /// Those from the first to the last, two at least.
    Range(u16, u16),
    /// All that other services of the address and protocol do not have.
    Every,
}

/// Text that names no ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a port from 0 to 65535, or a range of two at least as in \"1000-1999\"")]
pub struct BadPorts;

impl Ports {
    /// A port as it is configured: 0 is every port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        if port == 0 { Self::Every } else { Self::Exact(port) }
    }

    /// The first port; 0 is every port.
    #[must_use]
    pub const fn first(self) -> u16 {
        match self {
            Self::Exact(port) | Self::Range(port, _) => port,
            Self::Every => 0,
        }
    }

    /// The last port of a range.
    #[must_use]
    pub const fn last_of_range(self) -> Option<u16> {
        match self {
            Self::Range(_, last) => Some(last),
            Self::Exact(_) | Self::Every => None,
        }
    }
}

impl FromStr for Ports {
    type Err = BadPorts;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| BadPorts);
        let Some((first, last)) = text.split_once('-') else {
            return port(text).map(Self::one);
        };
        match (port(first)?, port(last)?) {
            (first, last) if 0 < first && first < last => Ok(Self::Range(first, last)),
            _ => Err(BadPorts),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(port) => write!(f, "{port}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Every => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_they_are_written() {
        for (text, expected) in [
            ("80", Ports::Exact(80)),
            ("0", Ports::Every),
            ("1000-1999", Ports::Range(1000, 1999)),
            ("1 - 65535", Ports::Range(1, 65_535)),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for text in ["", "-", "0-9", "9-8", "9-9", "1-65536", "1-2-3", "http"] {
            assert_eq!(text.parse::<Ports>(), Err(BadPorts), "{text}");
        }
    }
}
