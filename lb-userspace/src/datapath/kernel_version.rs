//! Which kernels lb runs on.

use std::fmt::{self, Display, Formatter};

use nix::sys::utsname::uname;

/// The oldest that the tests boot. What programs call came with 5.18 at the latest
/// (`bpf_xdp_get_buff_len`).
pub const OLDEST: KernelVersion = KernelVersion { major: 6, minor: 1 };

/// The kernel is too old.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this machine runs Linux {release}, but lb needs Linux {OLDEST} or newer")]
pub struct UnsupportedKernel {
    /// As `uname -r` says it.
    release: String,
}

/// The version of a kernel, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    major: u32,
    minor: u32,
}

impl KernelVersion {
    /// From a release as `uname -r` says it. `None` if it does not start with two numbers.
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let digits = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self { major: major.parse().ok()?, minor: rest[..digits].parse().ok()? })
    }
}

impl Display for KernelVersion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { major, minor } = self;
        write!(f, "{major}.{minor}")
    }
}

/// Looks at the running kernel. One that does not tell its version is given a try.
///
/// # Errors
/// If it is older than [`OLDEST`].
pub fn require_supported() -> Result<(), UnsupportedKernel> {
    match uname() {
        Ok(name) => judge(&name.release().to_string_lossy()),
        Err(_) => Ok(()),
    }
}

fn judge(release: &str) -> Result<(), UnsupportedKernel> {
    match KernelVersion::of_release(release) {
        Some(version) if version < OLDEST => Err(UnsupportedKernel { release: release.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_read() {
        for (release, major, minor) in [
            ("6.1.0-56-cloud-amd64", 6, 1),
            ("7.2.13+deb14-cloud-amd64", 7, 2),
            ("5.14.0-427.13.1.el9_4.x86_64", 5, 14),
            ("6.12-rc1", 6, 12),
            ("6.18", 6, 18),
        ] {
            let expected = KernelVersion { major, minor };
            assert_eq!(KernelVersion::of_release(release), Some(expected), "{release}");
        }
        for release in ["", "6", "6.", "6.x", "linux-6.1", "-6.1"] {
            assert_eq!(KernelVersion::of_release(release), None, "{release}");
        }
    }

    #[test]
    fn kernels_before_the_oldest_are_refused_in_a_sentence() {
        for release in ["5.10.0-46-cloud-amd64", "6.0.19", "4.19.0"] {
            let refusal = judge(release).expect_err(release).to_string();
            assert!(refusal.contains(release) && refusal.contains("Linux 6.1 or newer"));
        }
        // By number, not by letter.
        for release in ["6.1.0-56", "6.12.1", "6.18.44", "10.0.0", "unnamed"] {
            assert_eq!(judge(release), Ok(()), "{release}");
        }
    }

    #[test]
    fn the_tests_run_on_a_kernel_that_is_supported() {
        assert_eq!(require_supported(), Ok(()));
    }
}
