//! Clients that account for each of their requests.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use crate::{
    clock,
    daemon::Daemon,
    error::RigError,
    host::Host,
    program,
    report::{DownloadLine, Interval, Line},
    waiting,
};

/// A running load generator: `lb-tests-client http` or `udp`.
#[derive(Debug)]
pub struct Load {
    daemon: Daemon,
    target: SocketAddr,
    read: Mutex<Reading>,
}

/// What was read of the generator's output.
#[derive(Debug, Default)]
struct Reading {
    offset: u64,
    intervals: Vec<Interval>,
}

impl Load {
    /// Starts to send `rate` HTTP requests per second to `target`, each over a connection of its
    /// own. Each has 3 s to succeed.
    pub fn http(host: &Host, target: SocketAddr, rate: u32) -> Result<Self, RigError> {
        Self::start(host, "http", target, rate)
    }

    /// Starts to send `rate` numbered datagrams per second to `target`, over 16 flows. An echo
    /// that takes more than 1 s counts as lost.
    pub fn udp(host: &Host, target: SocketAddr, rate: u32) -> Result<Self, RigError> {
        Self::start(host, "udp", target, rate)
    }

    /// Where the requests go.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// What happened in the intervals that began after `mark`, a time of [`clock`].
    ///
    /// Failures are exact: those of all requests that started after `mark`.
    pub fn since(&self, mark: u64) -> Result<Interval, RigError> {
        self.update(|intervals| {
            let mut sum = Interval::default();
            for interval in intervals.iter().filter(|interval| interval.to_ms > mark) {
                let mut interval = interval.clone();
                if interval.from_ms < mark {
                    interval.served.clear();
                }
                interval.failed.retain(|failure| failure.started_ms >= mark);
                sum.extend(&interval);
            }
            sum
        })
    }

    /// Waits until the outcome of every request that has started by now is known, and returns
    /// what happened since `mark`.
    pub fn settle(&self, mark: u64) -> Result<Interval, RigError> {
        let now = clock::now_ms();
        self.daemon.until("the outcome of all requests", Duration::from_secs(6), || {
            let all = self.since(mark).map_err(|error| error.to_string())?;
            if all.settled_ms > now { Ok(all) } else { Err(self.daemon.log()) }
        })
    }

    /// Stops the generator and returns what happened in all of its time.
    pub fn finish(self) -> Result<Interval, RigError> {
        self.daemon.stop(Duration::from_secs(6))?;
        self.since(0)
    }

    fn start(host: &Host, kind: &str, target: SocketAddr, rate: u32) -> Result<Self, RigError> {
        let mut command = host.command(program("lb-tests-client")?);
        command.args([kind, "--target", &target.to_string(), "--rate", &rate.to_string()]);
        Ok(Self {
            daemon: Daemon::start(&format!("the {kind} load on {target}"), command)?,
            target,
            read: Mutex::default(),
        })
    }

    fn update<T>(&self, answer: impl FnOnce(&[Interval]) -> T) -> Result<T, RigError> {
        let mut read = self.read.lock().expect("no user of the lock panics");
        let new = self.daemon.output_from(read.offset);
        // A line may be only half written yet.
        let complete = new.rfind('\n').map_or(0, |end| end + 1);
        for line in new[..complete].lines() {
            if let Line::Interval(interval) = parse(line)? {
                read.intervals.push(interval);
            }
        }
        read.offset += complete as u64;
        Ok(answer(&read.intervals))
    }
}

/// A running download, `lb-tests-client download`.
#[derive(Debug)]
pub struct Download {
    daemon: Daemon,
    backend: String,
}

impl Download {
    /// Starts to load `bytes` from `target`, which takes `seconds` to send them, and waits until
    /// the answer has begun.
    pub fn start(
        host: &Host,
        target: SocketAddr,
        bytes: u64,
        seconds: u32,
    ) -> Result<Self, RigError> {
        let mut command = host.command(program("lb-tests-client")?);
        command.args(["download", "--target", &target.to_string()]);
        command.args(["--bytes", &bytes.to_string(), "--seconds", &seconds.to_string()]);
        let daemon = Daemon::start(&format!("the download from {target}"), command)?;
        let backend = waiting::until("the download to start", Duration::from_secs(5), || {
            match daemon.output().lines().next().map(parse) {
                Some(Ok(DownloadLine::Started { backend, .. })) => Ok(backend),
                Some(other) => Err(format!("{other:?}")),
                None => Err(daemon.log()),
            }
        })?;
        Ok(Self { daemon, backend })
    }

    /// Who serves it.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon.is_running()
    }

    /// Waits for the end, which must not be [`DownloadLine::Started`].
    pub fn finish(self, patience: Duration) -> Result<DownloadLine, RigError> {
        waiting::until("the download to end", patience, || {
            let running = self.daemon.is_running();
            (!running).then_some(()).ok_or_else(|| "it still runs".to_owned())
        })?;
        let output = self.daemon.output();
        parse(output.lines().last().unwrap_or_default())
    }
}

fn parse<T: serde::de::DeserializeOwned>(line: &str) -> Result<T, RigError> {
    serde_json::from_str(line).map_err(|error| RigError::Answer {
        program: "lb-tests-client",
        problem: error.to_string(),
        answer: line.into(),
    })
}
