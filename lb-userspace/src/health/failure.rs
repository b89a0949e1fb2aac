//! Why a check did not pass.

use std::{fmt, io, time::Duration};

use nix::errno::Errno;

/// The word for a check that passed, as HAProxy calls it.
pub const PASSED: &str = "L4OK";

/// Why a check did not pass, as one phrase for people. Text that came from the backend is cut
/// short, and what does not print in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// The backend answered that nobody listens there.
    ConnectRefused,
    /// No connection came about for so long.
    TimedOut(Duration),
    /// The network or the backend said that this leads nowhere.
    Unreachable(Errno),
    /// Nothing came back for so long, where no connection is made first.
    NoAnswer(Duration),
    /// The backend was there, but this step did not end for so long.
    Stalled(Step, Duration),
    /// The connection broke in this step; the text says how.
    Broken(Step, String),
    /// No TLS session came about; the text says why.
    Tls(String),
    /// The backend said what it should not have said; the text says what.
    BadAnswer(String),
    /// The backend itself says that it does not work; the text is its status.
    BadStatus(String),
    /// The program of the check says so; the text is what became of it.
    Program(String),
    /// This process may not open another socket. Says nothing about the backend.
    OutOfDescriptors,
    /// This machine could not make the check. Says nothing about the backend.
    Local(Errno),
    /// The check could not be made as it is configured. Says nothing about the backend.
    Impossible(String),
}

/// What a check waits for after the backend was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The TLS handshake.
    TlsHandshake,
    /// That what is sent is taken, and answered.
    Answer,
    /// The rest of an answer that has begun.
    Body,
    /// The end of a program on this machine.
    Program,
}

impl CheckFailure {
    /// Whether the trouble is on this side, and so no reason to take a backend out.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::OutOfDescriptors | Self::Local(_) | Self::Impossible(_))
    }

    /// Whether nothing at all came back from the backend. When this is so for all of them, it may be
    /// this machine that is cut off. A connection that was refused is an answer.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::NoAnswer(_) => true,
            Self::Unreachable(errno) => !matches!(errno, Errno::ECONNRESET),
            _ => false,
        }
    }

    /// The word that HAProxy has for it: the layer that failed, and how.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ConnectRefused | Self::Unreachable(_) => "L4CON",
            Self::TimedOut(_) => "L4TOUT",
            Self::NoAnswer(_) | Self::Stalled(Step::Answer | Step::Body, _) => "L7TOUT",
            Self::Stalled(Step::TlsHandshake, _) => "L6TOUT",
            Self::Stalled(Step::Program, _) => "PROCTOUT",
            Self::Tls(_) | Self::Broken(Step::TlsHandshake, _) => "L6RSP",
            Self::Broken(..) | Self::BadAnswer(_) => "L7RSP",
            Self::BadStatus(_) => "L7STS",
            Self::Program(_) => "PROCERR",
            Self::OutOfDescriptors | Self::Local(_) | Self::Impossible(_) => "SOCKERR",
        }
    }

    /// What the kernel says at once when it is to connect or send.
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

    /// What the kernel says while an answer is awaited. To be forbidden then, as firewalls do over IPv6
    /// (RFC 4443, destination unreachable with code 1, 5 or 6), is the answer; rules of this machine
    /// speak up at once.
    pub(super) fn from_network(error: &io::Error) -> Self {
        match Self::from_connect(error) {
            Self::Local(errno @ Errno::EACCES) => Self::Unreachable(errno),
            failure => failure,
        }
    }

    /// What a connection ran into that was there before.
    pub(super) fn broken(step: Step, error: &io::Error) -> Self {
        let said = match error.raw_os_error() {
            Some(errno) => Errno::from_raw(errno).desc().to_owned(),
            None => cut(error.to_string().as_bytes()),
        };
        Self::Broken(step, said)
    }
}

/// Most characters of a backend's own that a failure shows.
const SHOWN: usize = 80;

/// Bytes that somebody else has chosen, fit for one line: cut short, the unprintable escaped.
pub(super) fn cut(bytes: &[u8]) -> String {
    // No character has more than four bytes.
    let head = &bytes[..bytes.len().min(4 * SHOWN)];
    let quoted = format!("{:?}", String::from_utf8_lossy(head));
    let mut escaped = quoted[1..quoted.len() - 1].chars();
    let mut shown: String = escaped.by_ref().take(SHOWN).collect();
    if head.len() < bytes.len() || escaped.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A time limit as people say it.
struct For(Duration);

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{} ms", self.0.as_millis())
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsHandshake => "TLS handshake",
            Self::Answer => "answer",
            Self::Body => "rest of the answer",
            Self::Program => "program",
        })
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectRefused => f.write_str("connect was refused"),
            Self::TimedOut(after) => write!(f, "connect timed out after {}", For(*after)),
            Self::Unreachable(errno) => write!(f, "connect failed: {}", errno.desc()),
            Self::NoAnswer(after) => write!(f, "no answer within {}", For(*after)),
            Self::Stalled(Step::Answer, after) => {
                write!(f, "connected, but no answer within {}", For(*after))
            }
            Self::Stalled(step, after) => {
                write!(f, "{step} did not end within {}", For(*after))
            }
            Self::Broken(Step::TlsHandshake, how) => write!(f, "TLS handshake failed: {how}"),
            Self::Broken(Step::Body, how) => write!(f, "answer broke off: {how}"),
            Self::Broken(_, how) => write!(f, "no answer: {how}"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::BadAnswer(what) | Self::BadStatus(what) | Self::Program(what) => {
                f.write_str(what)
            }
            Self::OutOfDescriptors => {
                f.write_str("not checked: lbd has no file descriptor left, raise LimitNOFILE")
            }
            Self::Local(errno) => write!(f, "not checked, this machine says: {}", errno.desc()),
            Self::Impossible(why) => write!(f, "not checked: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        let half = Duration::from_millis(500);
        for (failure, expected) in [
            (CheckFailure::ConnectRefused, "connect was refused"),
            (CheckFailure::TimedOut(half), "connect timed out after 500 ms"),
            (CheckFailure::TimedOut(Duration::from_secs(2)), "connect timed out after 2 s"),
            (
                CheckFailure::from_connect(&io::Error::from_raw_os_error(libc::EHOSTUNREACH)),
                "connect failed: No route to host",
            ),
            (CheckFailure::NoAnswer(half), "no answer within 500 ms"),
            (CheckFailure::Stalled(Step::Answer, half), "connected, but no answer within 500 ms"),
            (
                CheckFailure::Stalled(Step::TlsHandshake, half),
                "TLS handshake did not end within 500 ms",
            ),
            (
                CheckFailure::broken(Step::Answer, &io::Error::from_raw_os_error(libc::ECONNRESET)),
                "no answer: Connection reset by peer",
            ),
        ] {
            assert_eq!(failure.to_string(), expected);
        }
    }

    #[test]
    fn knows_whose_trouble_it_is() {
        for (errno, is_local, is_silent) in [
            (libc::ECONNREFUSED, false, false),
            (libc::ECONNRESET, false, false),
            (libc::ENETUNREACH, false, true),
            (libc::EMFILE, true, false),
            (libc::EADDRNOTAVAIL, true, false),
        ] {
            let failure = CheckFailure::from_connect(&io::Error::from_raw_os_error(errno));
            assert_eq!(failure.is_local(), is_local, "{failure}");
            assert_eq!(failure.is_silent(), is_silent, "{failure}");
            assert_eq!(failure.code() == "SOCKERR", is_local, "{failure}");
        }
    }

    #[test]
    fn who_forbids_matters() {
        let forbidden = io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(CheckFailure::from_connect(&forbidden), CheckFailure::Local(Errno::EACCES));
        let by_network = CheckFailure::from_network(&forbidden);
        assert_eq!(by_network, CheckFailure::Unreachable(Errno::EACCES));
        // What the network cannot have said.
        for errno in [libc::EPERM, libc::ENOBUFS, libc::EMFILE] {
            let failure = CheckFailure::from_network(&io::Error::from_raw_os_error(errno));
            assert!(failure.is_local(), "{failure}");
        }
    }

    #[test]
    fn what_others_say_fits_on_a_line() {
        assert_eq!(cut(b"+OK ready\r\n"), "+OK ready\\r\\n");
        assert_eq!(cut(b"a\x1b[31m\xff"), "a\\u{1b}[31m\u{fffd}");
        let long = cut(&[b'x'; 10_000]);
        assert_eq!(long.chars().count(), SHOWN + 1);
        assert!(long.ends_with('…'));
        assert_eq!(cut(&[b'x'; SHOWN]).chars().count(), SHOWN);
    }
}
