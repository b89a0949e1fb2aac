//! Why a check did not pass.

use std::{fmt, io, time::Duration};

use nix::errno::Errno;

/// Why a check did not pass, as one phrase for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// The backend answered that nobody listens there.
    ConnectRefused,
    /// The backend said nothing for so long.
    TimedOut(Duration),
    /// The network or the backend said that this leads nowhere.
    Unreachable(Errno),
    /// This process may not open another socket. Says nothing about the backend.
    OutOfDescriptors,
    /// This machine could not make the check. Says nothing about the backend.
    Local(Errno),
}

impl CheckFailure {
    /// Whether the trouble is on this side, and so no reason to take a backend out.
    #[must_use]
    pub const fn is_local(self) -> bool {
        matches!(self, Self::OutOfDescriptors | Self::Local(_))
    }

    pub(super) fn from_connect(error: &io::Error) -> Self {
        match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
            Errno::ECONNREFUSED => Self::ConnectRefused,
            Errno::EMFILE | Errno::ENFILE => Self::OutOfDescriptors,
            // No port left, no memory, forbidden by a local filter, address family switched off.
            errno @ (Errno::EADDRNOTAVAIL
            | Errno::EADDRINUSE
            | Errno::EAGAIN
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EPERM
            | Errno::EACCES
            | Errno::EAFNOSUPPORT) => Self::Local(errno),
            errno => Self::Unreachable(errno),
        }
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectRefused => f.write_str("connect was refused"),
            Self::TimedOut(after) if after.subsec_nanos() == 0 => {
                write!(f, "connect timed out after {} s", after.as_secs())
            }
            Self::TimedOut(after) => {
                write!(f, "connect timed out after {} ms", after.as_millis())
            }
            Self::Unreachable(errno) => write!(f, "connect failed: {}", errno.desc()),
            Self::OutOfDescriptors => {
                f.write_str("not checked: lbd has no file descriptor left, raise LimitNOFILE")
            }
            Self::Local(errno) => write!(f, "not checked, this machine says: {}", errno.desc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        for (failure, expected) in [
            (CheckFailure::ConnectRefused, "connect was refused"),
            (CheckFailure::TimedOut(Duration::from_millis(500)), "connect timed out after 500 ms"),
            (CheckFailure::TimedOut(Duration::from_secs(2)), "connect timed out after 2 s"),
            (
                CheckFailure::from_connect(&io::Error::from_raw_os_error(libc::EHOSTUNREACH)),
                "connect failed: No route to host",
            ),
        ] {
            assert_eq!(failure.to_string(), expected);
        }
    }

    #[test]
    fn knows_whose_trouble_it_is() {
        for (errno, is_local) in [
            (libc::ECONNREFUSED, false),
            (libc::ECONNRESET, false),
            (libc::ENETUNREACH, false),
            (libc::EMFILE, true),
            (libc::EADDRNOTAVAIL, true),
        ] {
            let failure = CheckFailure::from_connect(&io::Error::from_raw_os_error(errno));
            assert_eq!(failure.is_local(), is_local, "{failure}");
        }
    }
}
