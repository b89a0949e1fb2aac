//! The client: thousands of flows through the balancers, and what became of them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Mutex,
    time::Duration,
};

use super::report::{Count, Event, Line};
use crate::{daemon::Daemon, error::RigError, host::Host, program};

/// A running `lb-tests-disrupt client`.
#[derive(Debug)]
pub struct Traffic {
    daemon: Daemon,
    read: Mutex<Reading>,
}

/// What flows a client holds.
#[derive(Debug, Clone)]
pub struct Demand {
    /// The services that flows go to, one after the other.
    pub targets: Vec<SocketAddr>,
    /// The client's own addresses, of the targets' families.
    pub sources: Vec<IpAddr>,
    /// How many connections are held.
    pub tcp: u32,
    /// How many UDP flows are held.
    pub udp: u32,
    /// The time from one question of a flow to the next.
    pub interval: Duration,
    /// The time without an answer that breaks a flow.
    pub silence: Duration,
    /// How many connections are opened beside those, each second; each is held for some seconds.
    pub new_per_second: u32,
}

#[derive(Debug, Default)]
struct Reading {
    offset: u64,
    events: Vec<Event>,
    is_ready: bool,
    last: Count,
    summary: Option<Count>,
}

impl Traffic {
    /// Starts to open the flows.
    pub fn start(host: &Host, demand: &Demand) -> Result<Self, RigError> {
        let mut command = host.command(program("lb-tests-disrupt")?);
        command.arg("client");
        for target in &demand.targets {
            command.args(["--target", &target.to_string()]);
        }
        for source in &demand.sources {
            command.args(["--source", &source.to_string()]);
        }
        command.args(["--tcp", &demand.tcp.to_string(), "--udp", &demand.udp.to_string()]);
        command.args(["--interval-ms", &demand.interval.as_millis().to_string()]);
        command.args(["--silence-ms", &demand.silence.as_millis().to_string()]);
        command.args(["--new-per-second", &demand.new_per_second.to_string()]);
        let daemon = Daemon::start("the client", command)?;
        Ok(Self { daemon, read: Mutex::default() })
    }

    /// Waits until all flows are open and answered.
    pub fn wait_until_ready(&self, patience: Duration) -> Result<(), RigError> {
        self.daemon.until("all flows to be open", patience, || {
            let is_ready = self.read(|read| read.is_ready).map_err(|error| error.to_string())?;
            is_ready.then_some(()).ok_or_else(|| self.daemon.log())
        })
    }

    /// What happened so far, but for the first `seen` events.
    pub fn events_from(&self, seen: usize) -> Result<Vec<Event>, RigError> {
        self.read(|read| read.events.get(seen..).unwrap_or_default().to_vec())
    }

    /// The last counts.
    pub fn count(&self) -> Result<Count, RigError> {
        self.read(|read| read.last.clone())
    }

    /// Stops to ask, and waits until every question is answered or given up.
    pub fn finish(self) -> Result<(Vec<Event>, Count), RigError> {
        self.daemon.stop(Duration::from_secs(60))?;
        let (events, summary) = self.read(|read| (read.events.clone(), read.summary.clone()))?;
        let summary = summary.ok_or_else(|| RigError::Answer {
            program: "lb-tests-disrupt",
            problem: "no summary".into(),
            answer: self.daemon.log(),
        })?;
        Ok((events, summary))
    }

    fn read<T>(&self, answer: impl FnOnce(&Reading) -> T) -> Result<T, RigError> {
        let mut read = self.read.lock().expect("no user of the lock panics");
        let new = self.daemon.output_from(read.offset);
        // A line may be only half written yet.
        let complete = new.rfind('\n').map_or(0, |end| end + 1);
        for line in new[..complete].lines() {
            match parse(line)? {
                Line::Ready(count) => {
                    read.is_ready = true;
                    read.last = count;
                }
                Line::Event(event) => read.events.push(event),
                Line::Count(count) => read.last = count,
                Line::Summary(count) => read.summary = Some(count),
            }
        }
        read.offset += complete as u64;
        Ok(answer(&read))
    }
}

fn parse(line: &str) -> Result<Line, RigError> {
    serde_json::from_str(line).map_err(|error| RigError::Answer {
        program: "lb-tests-disrupt",
        problem: error.to_string(),
        answer: line.into(),
    })
}
