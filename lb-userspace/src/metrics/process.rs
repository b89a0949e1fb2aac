//! What the daemon takes from its machine, as `/proc` tells it.

use std::{fs, sync::OnceLock, time::SystemTime};

/// What the daemon takes from its machine. Zero is what could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// When it started, in seconds since 1970.
    pub start_time: f64,
    /// Processor time in user and kernel mode, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is in RAM.
    pub resident_bytes: u64,
    /// File descriptors in use.
    pub open_descriptors: u64,
}

impl Process {
    /// Reads the present values.
    #[must_use]
    pub fn read() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64);
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let Some(stat) = stat.and_then(|stat| Stat::parse(&stat)) else {
            return Self { open_descriptors: descriptors, ..Self::default() };
        };
        Self {
            start_time: start_time(&stat),
            cpu_seconds: stat.cpu_ticks as f64 / TICKS_PER_SECOND,
            resident_bytes: stat.resident_pages * page_size(),
            open_descriptors: descriptors,
        }
    }
}

/// `USER_HZ`, which is 100 wherever the daemon runs.
const TICKS_PER_SECOND: f64 = 100.0;

/// The fields of proc(5)'s `stat` that matter.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    /// Since the machine started.
    start_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The second field is the program's name, which may hold spaces and parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Counted from 1 in the manual, where the field after the name is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// The same at every call, even if the clock is set: else it would look like a restart.
fn start_time(stat: &Stat) -> f64 {
    static START: OnceLock<f64> = OnceLock::new();
    *START.get_or_init(|| {
        let uptime = fs::read_to_string("/proc/uptime").ok();
        let uptime = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = uptime.unwrap_or_default() - stat.start_ticks as f64 / TICKS_PER_SECOND;
        now.as_secs_f64() - age
    })
}

fn page_size() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |size| size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_itself() {
        let first = Process::read();
        assert!(first.resident_bytes > 100_000, "{first:?}");
        assert!(first.open_descriptors > 2, "{first:?}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let age = now.as_secs_f64() - first.start_time;
        assert!((-1.0..600.0).contains(&age), "{age}");
        assert_eq!(Process::read().start_time.to_bits(), first.start_time.to_bits());
    }

    #[test]
    fn finds_fields_behind_any_name() {
        let stat = "42 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 77 18446";
        let expected = Stat { cpu_ticks: 11, start_ticks: 999, resident_pages: 77 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("42 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }
}
