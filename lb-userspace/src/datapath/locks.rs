//! Who holds a lock.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
};

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pid: u32,
    program: String,
}

impl Holder {
    /// Who holds the lock on a file, as `/proc/locks` tells; `None` for a process in another PID
    /// namespace.
    #[must_use]
    pub fn of(file: &File) -> Option<Self> {
        let status = file.metadata().ok()?;
        let (device, inode) = (status.dev(), status.ino());
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let locks = fs::read_to_string("/proc/locks").ok()?;
        Self::with_pid(owner(&locks, &format!("{major:02x}:{minor:02x}:{inode}"))?)
    }

    /// The process with this id, if there is one.
    #[must_use]
    pub fn with_pid(pid: u32) -> Option<Self> {
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Self { pid, program: program.trim_end().to_owned() })
    }
}

/// The holder in a sentence about "another lbd".
pub(crate) fn named(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |Holder { pid, program }| format!(" (pid {pid}, {program})"))
}

/// Process of the exclusive lock on a file, in the text of `/proc/locks`, proc_locks(5).
fn owner(locks: &str, file: &str) -> Option<u32> {
    let holds = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, "FLOCK", _, "WRITE", _, at, ..] if at == file)
    };
    locks.lines().find(holds)?.split_whitespace().nth(4)?.parse().ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let file = tempfile::NamedTempFile::new().expect("room");
        let open = || File::open(file.path()).expect("it is there");
        assert_eq!(Holder::of(&open()), None);
        let lock = Flock::lock(open(), FlockArg::LockExclusiveNonblock).expect("free");
        let holder = Holder::of(&open()).expect("us");
        assert_eq!(holder.pid, std::process::id());
        assert!(named(Some(&holder)).starts_with(&format!(" (pid {}, ", std::process::id())));
        drop(lock);
    }

    #[test]
    fn others_locks_and_those_who_wait_are_passed_over() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:1b:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 00:1b:770 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 00:1b:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 00:1b:78 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 14 00:1b:77 0 EOF\n";
        assert_eq!(owner(locks, "00:1b:77"), Some(14));
        assert_eq!(owner(locks, "00:1b:78"), None);
        assert_eq!(owner(locks, "00:1b:79"), None);
    }
}
