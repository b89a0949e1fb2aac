//! Proof that a test left nothing on the machine.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

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
        let entries = FOLDERS.into_iter().flat_map(entries);
        Self(entries.chain(interfaces()).chain(mounts()).collect())
    }

    /// What is there now and was not before. Other programs' mounts and interfaces, which come and
    /// go on a machine that is used, are not looked at.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        Self::now().0.difference(&self.0).cloned().collect()
    }

    /// Waits until nothing is left: the kernel takes namespaces down after their last process.
    pub fn wait_until_clean(&self) -> Result<(), RigError> {
        waiting::until("a clean machine", Duration::from_secs(5), || {
            let leftovers = self.leftovers();
            if leftovers.is_empty() { Ok(()) } else { Err(leftovers.join(", ")) }
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
    Some(Stat { state: words.next()?.into(), parent: words.next()?.parse().ok()? })
}

fn entries(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().display().to_string());
    paths.chain(Path::new(folder).exists().then(|| folder.into())).collect()
}

/// Interfaces with names that the rig gives.
fn interfaces() -> Vec<String> {
    let is_ours = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        ["eth0", "br0", "client", "balancer"].contains(&name) || name.starts_with("be")
    };
    let all = entries("/sys/class/net");
    all.into_iter().filter(is_ours).collect()
}

/// Mounts where the rig and lb mount.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4));
    targets
        .filter(|target| {
            let is_below = |folder: &&str| Path::new(target).starts_with(folder);
            ["/sys", "/run", "/var/lib"].contains(target) || FOLDERS.iter().any(is_below)
        })
        .map(|target| format!("mount {target}"))
        .collect()
}

/// Where the rig, `ip netns` and lb leave things.
const FOLDERS: [&str; 4] = ["/run/netns", "/run/lb", "/var/lib/lb", "/sys/fs/bpf"];
