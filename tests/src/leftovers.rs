//! Proof that a test left nothing on the machine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{error::RigError, waiting};

/// What a load balancer and its tests could leave on a machine, at one moment: named namespaces,
/// pins, state, interfaces and mounts.
///
/// Processes are not among them, because those of tests that run side by side come and go; ask
/// [`children`] and [`is_alive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(BTreeSet<String>);

impl Machine {
    /// The machine as it is now.
    #[must_use]
    pub fn now() -> Self {
        let folders = [
            "/run/netns",
            "/run/lb",
            "/var/lib/lb",
            "/sys/fs/bpf",
            "/sys/class/net",
        ];
        Self(
            folders
                .into_iter()
                .flat_map(entries)
                .chain(mounts())
                .collect(),
        )
    }

    /// What is there now and was not before.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        Self::now().0.difference(&self.0).cloned().collect()
    }

    /// Waits until nothing is left: the kernel takes namespaces down after their last process.
    pub fn wait_until_clean(&self) -> Result<(), RigError> {
        waiting::until("a clean machine", Duration::from_secs(5), || {
            let leftovers = self.leftovers();
            if leftovers.is_empty() {
                Ok(())
            } else {
                Err(leftovers.join(", "))
            }
        })
    }
}

/// Whether a process exists. One that ended and was not waited for does not count.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    stat(&Path::new("/proc").join(pid.to_string())).is_some_and(|stat| stat.state != "Z")
}

/// The processes that `parent` started.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| stat(&entry.path()).is_some_and(|stat| stat.parent == parent))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

struct Stat {
    state: String,
    parent: u32,
}

/// `stat` of a folder in /proc, see proc_pid_stat(5); none if it is not a process.
fn stat(folder: &Path) -> Option<Stat> {
    let line = fs::read_to_string(folder.join("stat")).ok()?;
    // The name comes before, in brackets, and may contain spaces and brackets.
    let (_, rest) = line.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    Some(Stat {
        state: words.next()?.into(),
        parent: words.next()?.parse().ok()?,
    })
}

fn entries(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().display().to_string());
    paths
        .chain(PathBuf::from(folder).exists().then(|| folder.into()))
        .collect()
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let target = |line: &str| {
        line.split(' ')
            .nth(4)
            .map(|target| format!("mount {target}"))
    };
    table.lines().filter_map(target).collect()
}
