//! What can happen to a network.

use std::{fmt, time::Duration};

use super::words::{self, Time};

/// A backend, `be1` to `be80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend(pub u8);

impl Backend {
    /// The highest number.
    pub const LAST: u8 = 80;
}

/// A balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Balancer {
    /// `lb1`
    First,
    /// `lb2`
    Second,
}

/// Something that happens. What concerns `lbd` concerns it on all balancers that live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `drain be1`: the operator drains it.
    Drain(Backend),
    /// `ready be1`: the operator wants it to serve.
    Ready(Backend),
    /// `weight be1 50`, or `weight be1 reset`.
    Weight(Backend, Option<u16>),
    /// `add be5`: the operator adds it.
    Add(Backend),
    /// `remove be5`: the operator removes it. Its flows may break.
    Remove(Backend),
    /// `fail be1`: its server refuses checks, and serves on.
    Fail(Backend),
    /// `recover be1`: its server accepts checks again.
    Recover(Backend),
    /// `kill-server be1`: its server dies. Its flows may break.
    KillServer(Backend),
    /// `start-server be1`
    StartServer(Backend),
    /// `reload`: SIGHUP with another configuration that asks for the same traffic.
    Reload,
    /// `reload be1 50`: SIGHUP with another weight in the configuration.
    ReloadWeight(Backend, u16),
    /// `kill-daemon`: SIGKILL.
    KillDaemon,
    /// `start-daemon`
    StartDaemon,
    /// `crash`: SIGKILL, and a start at once.
    Crash,
    /// `restart`: SIGTERM, and a start at once, which replaces the program (a link update).
    Restart,
    /// `upgrade`: a restart as a version whose maps have another layout.
    Upgrade,
    /// `downgrade`: a restart as this version.
    Downgrade,
    /// `detach`: somebody detaches the program by hand.
    Detach,
    /// `blink 200ms`: the balancers' interfaces are down for so long.
    Blink(Duration),
    /// `flush-neighbours`: balancers and router forget all link-layer addresses.
    FlushNeighbours,
    /// `kill-balancer lb1`: its machine is gone, and the router sends nothing there any more.
    KillBalancer(Balancer),
    /// `syn-flood 10000000`: so many SYNs from invented sources, as fast as they can be sent.
    SynFlood(u64),
}

impl Action {
    /// The backend that it is about.
    #[must_use]
    pub const fn backend(&self) -> Option<Backend> {
        match self {
            Self::Drain(backend)
            | Self::Ready(backend)
            | Self::Weight(backend, _)
            | Self::Add(backend)
            | Self::Remove(backend)
            | Self::Fail(backend)
            | Self::Recover(backend)
            | Self::KillServer(backend)
            | Self::StartServer(backend)
            | Self::ReloadWeight(backend, _) => Some(*backend),
            _ => None,
        }
    }

    /// The backend whose flows may break from now on.
    #[must_use]
    pub const fn victim(&self) -> Option<Backend> {
        match self {
            Self::Remove(backend) | Self::KillServer(backend) => Some(*backend),
            _ => None,
        }
    }

    /// Reads the words of an action.
    pub(super) fn read(words: &[&str]) -> Result<Self, String> {
        let backend = |word| words::backend(word);
        Ok(match words {
            ["drain", name] => Self::Drain(backend(name)?),
            ["ready", name] => Self::Ready(backend(name)?),
            ["weight", name, "reset"] => Self::Weight(backend(name)?, None),
            ["weight", name, weight] => Self::Weight(backend(name)?, Some(self::weight(weight)?)),
            ["add", name] => Self::Add(backend(name)?),
            ["remove", name] => Self::Remove(backend(name)?),
            ["fail", name] => Self::Fail(backend(name)?),
            ["recover", name] => Self::Recover(backend(name)?),
            ["kill-server", name] => Self::KillServer(backend(name)?),
            ["start-server", name] => Self::StartServer(backend(name)?),
            ["reload"] => Self::Reload,
            ["reload", name, weight] => Self::ReloadWeight(backend(name)?, self::weight(weight)?),
            ["kill-daemon"] => Self::KillDaemon,
            ["start-daemon"] => Self::StartDaemon,
            ["crash"] => Self::Crash,
            ["restart" | "replace-program"] => Self::Restart,
            ["upgrade"] => Self::Upgrade,
            ["downgrade"] => Self::Downgrade,
            ["detach"] => Self::Detach,
            ["blink", time] => Self::Blink(words::time(time)?),
            ["flush-neighbours"] => Self::FlushNeighbours,
            ["kill-balancer", name] => Self::KillBalancer(words::balancer(name)?),
            ["syn-flood", count] => Self::SynFlood(words::number(count, 1, 1_000_000_000)?),
            [] => return Err("what happens then?".into()),
            [verb, rest @ ..] => return Err(unknown(verb, rest.len())),
        })
    }
}

fn weight(word: &str) -> Result<u16, String> {
    words::number(word, 0, u16::MAX)
}

fn unknown(verb: &str, arguments: usize) -> String {
    match FORMS.iter().find(|form| form.split(' ').next() == Some(verb)) {
        Some(form) => format!("`{verb}` with {arguments} words after it: it is `{form}`"),
        None => format!("`{verb}` is no action; actions are: {}", FORMS.join(", ")),
    }
}

const FORMS: [&str; 24] = [
    "drain BACKEND",
    "ready BACKEND",
    "weight BACKEND NUMBER|reset",
    "add BACKEND",
    "remove BACKEND",
    "fail BACKEND",
    "recover BACKEND",
    "flap BACKEND FREQUENCY TIME",
    "kill-server BACKEND",
    "start-server BACKEND",
    "reload [BACKEND NUMBER]",
    "kill-daemon",
    "start-daemon",
    "crash",
    "restart",
    "replace-program",
    "upgrade",
    "downgrade",
    "detach",
    "blink TIME",
    "flush-neighbours",
    "kill-balancer BALANCER",
    "syn-flood NUMBER",
    "pause TIME",
];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "be{}", self.0)
    }
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "lb1",
            Self::Second => "lb2",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain(backend) => write!(f, "drain {backend}"),
            Self::Ready(backend) => write!(f, "ready {backend}"),
            Self::Weight(backend, Some(weight)) => write!(f, "weight {backend} {weight}"),
            Self::Weight(backend, None) => write!(f, "weight {backend} reset"),
            Self::Add(backend) => write!(f, "add {backend}"),
            Self::Remove(backend) => write!(f, "remove {backend}"),
            Self::Fail(backend) => write!(f, "fail {backend}"),
            Self::Recover(backend) => write!(f, "recover {backend}"),
            Self::KillServer(backend) => write!(f, "kill-server {backend}"),
            Self::StartServer(backend) => write!(f, "start-server {backend}"),
            Self::Reload => f.write_str("reload"),
            Self::ReloadWeight(backend, weight) => write!(f, "reload {backend} {weight}"),
            Self::KillDaemon => f.write_str("kill-daemon"),
            Self::StartDaemon => f.write_str("start-daemon"),
            Self::Crash => f.write_str("crash"),
            Self::Restart => f.write_str("restart"),
            Self::Upgrade => f.write_str("upgrade"),
            Self::Downgrade => f.write_str("downgrade"),
            Self::Detach => f.write_str("detach"),
            Self::Blink(time) => write!(f, "blink {}", Time(*time)),
            Self::FlushNeighbours => f.write_str("flush-neighbours"),
            Self::KillBalancer(balancer) => write!(f, "kill-balancer {balancer}"),
            Self::SynFlood(count) => write!(f, "syn-flood {count}"),
        }
    }
}
