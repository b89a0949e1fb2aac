//! The network, its traffic, and what is expected of both.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{
    Backend,
    words::{self, Time},
};
use crate::address::Family;

/// The network and its traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `backends 4`: be1 to be4 are configured.
    pub backends: u8,
    /// `balancers 2`: beside each other, behind a router that spreads flows over them.
    pub balancers: u8,
    /// `connections 1000`: TCP connections that are held.
    pub connections: u32,
    /// `udp 50`: UDP flows that are held.
    pub udp: u32,
    /// `new 20`: connections that are opened beside those each second.
    pub new_per_second: u32,
    /// `interval 200ms`: from one question of a flow to the next.
    pub interval: Duration,
    /// `silence 3s`: the time without an answer that breaks a flow.
    pub silence: Duration,
    /// `forward gue`
    pub forward: String,
    /// `second-chance`: far ends of tunnels give on packets of connections that they do not have.
    pub second_chance: bool,
    /// `families both`
    pub families: Families,
    /// `checks 200ms 2 3`
    pub checks: Checks,
    /// `grace 120m`: the services' `flow_grace`.
    pub grace: Duration,
    /// `linger 1s`: from the last step to the end.
    pub linger: Duration,
    /// `daemon max_flows = 65536`: lines of the configuration's `[daemon]`.
    pub daemon: Vec<String>,
    /// `tcp on_down = "keep"`: lines of every TCP service.
    pub tcp_service: Vec<String>,
    /// `udp-service udp_timeout = "10s"`: lines of every UDP service.
    pub udp_service: Vec<String>,
    /// `may-break be5`: its flows may break at any time.
    pub may_break: BTreeSet<Backend>,
}

/// IP versions of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// `families 4`
    V4,
    /// `families 6`
    V6,
    /// `families both`: half of the flows over each.
    Both,
}

/// How backends are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// From one check to the next, and the longest that one takes.
    pub interval: Duration,
    /// How many must pass.
    pub rise: u32,
    /// How many must fail.
    pub fall: u32,
}

/// What may come of it at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Flows that break, beside those of backends that were removed or killed.
    pub broken: u64,
    /// Flows that change their backend, beside those.
    pub misrouted: u64,
    /// Flows that cannot be opened; without it any number of them.
    pub unopened: Option<u64>,
    /// The longest wait for an answer; without it what breaks a flow.
    pub wait: Option<Duration>,
    /// Resets by the kernels of backends, to packets of connections that are not theirs; without
    /// it any number of them.
    pub strangers: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backends: 4,
            balancers: 1,
            connections: 1000,
            udp: 0,
            new_per_second: 0,
            interval: Duration::from_millis(200),
            silence: Duration::from_secs(3),
            forward: "l2".into(),
            second_chance: false,
            families: Families::V4,
            // Slow enough for a busy machine.
            checks: Checks { interval: Duration::from_millis(500), rise: 2, fall: 3 },
            grace: Duration::from_secs(7200),
            linger: Duration::from_secs(1),
            daemon: Vec::new(),
            tcp_service: Vec::new(),
            udp_service: Vec::new(),
            may_break: BTreeSet::new(),
        }
    }
}

impl Families {
    /// The families themselves.
    #[must_use]
    pub const fn all(self) -> &'static [Family] {
        match self {
            Self::V4 => &[Family::V4],
            Self::V6 => &[Family::V6],
            Self::Both => &Family::ALL,
        }
    }
}

impl Settings {
    /// Takes a setting; false if it is none.
    pub(super) fn read(&mut self, statement: &[&str]) -> Result<bool, String> {
        match statement {
            ["backends", count] => self.backends = words::number(count, 1, Backend::LAST)?,
            ["balancers", count] => self.balancers = words::number(count, 1, 2)?,
            ["connections", count] => self.connections = words::number(count, 0, 100_000)?,
            ["udp", count] => self.udp = words::number(count, 0, 100_000)?,
            ["new", count] => self.new_per_second = words::number(count, 0, 1000)?,
            ["interval", time] => self.interval = words::time(time)?,
            ["silence", time] => self.silence = words::time(time)?,
            ["forward", way @ ("l2" | "ipip" | "gue" | "nat")] => {
                (*way).clone_into(&mut self.forward);
            }
            ["forward", way] => return Err(format!("`{way}`: it is l2, ipip, gue or nat")),
            ["second-chance"] => self.second_chance = true,
            ["families", "4"] => self.families = Families::V4,
            ["families", "6"] => self.families = Families::V6,
            ["families", "both"] => self.families = Families::Both,
            ["families", other] => return Err(format!("`{other}`: families are 4, 6 or both")),
            ["checks", interval, rise, fall] => {
                self.checks = Checks {
                    interval: words::time(interval)?,
                    rise: words::number(rise, 1, 1000)?,
                    fall: words::number(fall, 1, 1000)?,
                }
            }
            ["grace", time] => self.grace = words::time(time)?,
            ["linger", time] => self.linger = words::time(time)?,
            ["daemon", line @ ..] => self.daemon.push(line.join(" ")),
            ["tcp-service", line @ ..] => self.tcp_service.push(line.join(" ")),
            ["udp-service", line @ ..] => self.udp_service.push(line.join(" ")),
            ["may-break", name] => {
                self.may_break.insert(words::backend(name)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Expectations {
    /// Takes the words after `expect`: pairs of what and how many.
    pub(super) fn read(&mut self, mut words: &[&str]) -> Result<(), String> {
        const ANY: u64 = u64::MAX;
        while let [what, bound, rest @ ..] = words {
            match *what {
                "broken" => self.broken = words::number(bound, 0, ANY)?,
                "misrouted" => self.misrouted = words::number(bound, 0, ANY)?,
                "unopened" => self.unopened = Some(words::number(bound, 0, ANY)?),
                "strangers" => self.strangers = Some(words::number(bound, 0, ANY)?),
                "wait" => self.wait = Some(words::time(bound)?),
                other => {
                    return Err(format!(
                        "`{other}` cannot be expected: broken, misrouted, unopened, strangers and \
                         wait can"
                    ));
                }
            }
            words = rest;
        }
        match words {
            [] => Ok(()),
            [what, ..] => Err(format!("how much `{what}` is expected?")),
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checks { interval, rise, fall } = self.checks;
        writeln!(f, "backends {}\nbalancers {}", self.backends, self.balancers)?;
        writeln!(f, "connections {}\nudp {}", self.connections, self.udp)?;
        writeln!(f, "new {}\ninterval {}", self.new_per_second, Time(self.interval))?;
        writeln!(f, "silence {}\nforward {}", Time(self.silence), self.forward)?;
        if self.second_chance {
            writeln!(f, "second-chance")?;
        }
        let families = match self.families {
            Families::V4 => "4",
            Families::V6 => "6",
            Families::Both => "both",
        };
        writeln!(f, "families {families}\nchecks {} {rise} {fall}", Time(interval))?;
        writeln!(f, "grace {}\nlinger {}", Time(self.grace), Time(self.linger))?;
        self.daemon.iter().try_for_each(|line| writeln!(f, "daemon {line}"))?;
        self.tcp_service.iter().try_for_each(|line| writeln!(f, "tcp-service {line}"))?;
        self.udp_service.iter().try_for_each(|line| writeln!(f, "udp-service {line}"))?;
        self.may_break.iter().try_for_each(|backend| writeln!(f, "may-break {backend}"))
    }
}

impl fmt::Display for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expect broken {} misrouted {}", self.broken, self.misrouted)?;
        if let Some(count) = self.unopened {
            write!(f, " unopened {count}")?;
        }
        if let Some(count) = self.strangers {
            write!(f, " strangers {count}")?;
        }
        if let Some(wait) = self.wait {
            write!(f, " wait {}", Time(wait))?;
        }
        writeln!(f)
    }
}
