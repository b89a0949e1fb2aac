//! Every frame that comes in is passed, sent or dropped, and counted as that once: checked at the
//! end of every test whose interfaces keep the program.

use std::fs;

use super::Site;

/// Frames that the kernel has counted and the program has not: those from before it was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accounts(i64);

impl Accounts {
    /// The accounts as they stand. Something always moves (the kernel looks for neighbours): they
    /// are taken when nothing did while they were read.
    pub(super) fn read(site: &Site) -> Result<Self, String> {
        let before = frames(site);
        let verdicts = site.metrics().sum("lb_xdp_packets_total", &[]);
        let after = frames(site);
        if before == after {
            Ok(Self(after as i64 - verdicts as i64))
        } else {
            Err(format!("{before}, then {after} frames"))
        }
    }

    /// Whether the accounts are still what they were.
    pub(super) fn compare(self, site: &Site) -> Result<(), String> {
        let now = Self::read(site)?;
        if now == self {
            return Ok(());
        }
        let text = site.metrics();
        let lines: Vec<_> =
            text.text().lines().filter(|line| line.contains("lb_xdp_packets")).collect();
        Err(format!("frames without a verdict: {} before, {} now\n{lines:#?}", self.0, now.0))
    }
}

/// Frames that have come in by the interfaces that have the program.
fn frames(site: &Site) -> u64 {
    let status = site.json(&["status"]);
    let interfaces = status["interfaces"].as_array().expect("a list of interfaces");
    let frames_of = |interface: &serde_json::Value| {
        let name = interface["name"].as_str().expect("a name");
        let path = format!("/sys/class/net/{name}/statistics/rx_packets");
        // One that is gone for the moment has none.
        let text = fs::read_to_string(site.topology.balancer.path(path)).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or_default()
    };
    interfaces.iter().map(frames_of).sum()
}
