//! What lbd holds: descriptors, memory, pins, slots. What grows there for ever is a leak.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::{Host, Lbctl, RigError, waiting};

/// What one lbd holds at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Descriptors by kind: `socket`, `bpf-map`, a path.
    pub descriptors: BTreeMap<String, usize>,
    /// Maps that it has in its memory, which need no descriptor.
    pub mapped: usize,
    /// Private memory in KiB.
    pub anonymous_kib: u64,
    /// Files below the pins' directory.
    pub pins: BTreeSet<String>,
    /// Slots that tables use.
    pub slots: u64,
    /// Backends that it knows of.
    pub backends: u64,
}

/// Private memory may grow by so much: an allocator keeps some of what was needed at once.
const SPARE_KIB: u64 = 8 * 1024;

impl Footprint {
    /// Looks at the lbd with this process id, which runs in `host`.
    ///
    /// # Errors
    /// If it ends meanwhile or does not answer.
    pub fn of(host: &Host, pid: u32) -> Result<Self, RigError> {
        let problem = |source| RigError::Kernel {
            host: host.name().into(),
            action: format!("look at process {pid}"),
            source,
        };
        let text = Lbctl::new(host)?.run(&["-o", "json", "status"])?;
        let status: Value = serde_json::from_str(&text).map_err(|error| RigError::Answer {
            program: "lbctl",
            problem: error.to_string(),
            answer: text.clone(),
        })?;
        let number = |key: &str| status[key].as_u64().unwrap_or_default();
        Ok(Self {
            descriptors: descriptors(pid).map_err(problem)?,
            mapped: mapped(pid).map_err(problem)?,
            anonymous_kib: anonymous_kib(pid).map_err(problem)?,
            pins: pins(&host.path("/sys/fs/bpf/lb")),
            slots: number("slots_used"),
            backends: number("backends"),
        })
    }

    /// Waits until nothing that `before` did not hold is held now.
    ///
    /// # Errors
    /// What is left after `patience`.
    pub fn wait_until_no_more_than(
        host: &Host,
        pid: u32,
        before: &Self,
        patience: Duration,
    ) -> Result<Self, RigError> {
        waiting::until("lbd to hold no more than at first", patience, || {
            let now = Self::of(host, pid).map_err(|error| error.to_string())?;
            let more = now.beyond(before);
            if more.is_empty() { Ok(now) } else { Err(more.join("; ")) }
        })
    }

    /// What is held now and was not before.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let mut more = Vec::new();
        for (kind, count) in &self.descriptors {
            let was = before.descriptors.get(kind).copied().unwrap_or_default();
            if *count > was {
                more.push(format!("{count} descriptors of {kind}, before {was}"));
            }
        }
        more.extend(self.pins.difference(&before.pins).map(|pin| format!("pin {pin}")));
        if self.anonymous_kib > before.anonymous_kib + SPARE_KIB {
            let (now, was) = (self.anonymous_kib, before.anonymous_kib);
            more.push(format!("{now} KiB of memory, before {was}"));
        }
        for (what, now, was) in [
            ("maps in memory", self.mapped as u64, before.mapped as u64),
            ("slots", self.slots, before.slots),
            ("backends", self.backends, before.backends),
        ] {
            if now > was {
                more.push(format!("{now} {what}, before {was}"));
            }
        }
        more
    }
}

fn descriptors(pid: u32) -> io::Result<BTreeMap<String, usize>> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is closed meanwhile is none.
        let Ok(target) = fs::read_link(entry?.path()) else {
            continue;
        };
        let target = target.display().to_string();
        let kind = target.split(":[").next().unwrap_or_default();
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    Ok(kinds)
}

fn mapped(pid: u32) -> io::Result<usize> {
    let table = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(table.lines().filter(|line| line.contains("bpf-map")).count())
}

/// `RssAnon`, see proc_pid_status(5): without the maps that are shared with the kernel.
fn anonymous_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let digits = line.and_then(|rest| rest.split_whitespace().next());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn pins(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
                // Behind /proc/PID/root/sys/fs/bpf/lb.
                found.insert(names[names.len().min(8)..].join("/"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_more_is_told() {
        let before = Footprint { mapped: 4, anonymous_kib: 1000, slots: 9, ..Footprint::default() };
        let fewer = Footprint { slots: 8, anonymous_kib: 1000 + SPARE_KIB, ..before.clone() };
        assert_eq!(fewer.beyond(&before), [""; 0]);
        let more = Footprint {
            descriptors: [("socket".to_owned(), 1)].into(),
            mapped: 5,
            anonymous_kib: 1001 + SPARE_KIB,
            pins: ["links/eth0".to_owned()].into(),
            ..before.clone()
        };
        assert_eq!(more.beyond(&before).len(), 4, "{:?}", more.beyond(&before));
    }

    #[test]
    fn this_process_has_descriptors_and_memory() {
        let pid = std::process::id();
        assert!(descriptors(pid).unwrap().values().sum::<usize>() >= 3);
        assert!(anonymous_kib(pid).unwrap() > 100);
        assert_eq!(mapped(pid).unwrap(), 0);
    }
}
