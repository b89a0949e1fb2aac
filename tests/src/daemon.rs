//! A process that runs beside the test.

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{capture::Capture, error::RigError, keeper, waiting};

/// A running process that is killed when this is dropped, or when the test's process dies.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    // Behind a lock because asking for the exit status needs `&mut`, and whoever only looks at a
    // daemon should not need that.
    child: Mutex<Child>,
    pid: u32,
    stdout: Capture,
    stderr: Capture,
}

impl Daemon {
    /// Starts `command`, usually from [`Host::command`](crate::Host::command), and keeps its
    /// output. `name` is for messages.
    pub fn start(name: &str, mut command: Command) -> Result<Self, RigError> {
        let start = |source| RigError::Start { program: name.into(), source };
        let stdout = Capture::new().map_err(start)?;
        let stderr = Capture::new().map_err(start)?;
        command
            .stdin(Stdio::null())
            .stdout(stdout.writer().map_err(start)?)
            .stderr(stderr.writer().map_err(start)?);
        let child = keeper::run(move || command.spawn()).map_err(start)?;
        Ok(Self { name: name.into(), pid: child.id(), child: Mutex::new(child), stdout, stderr })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How the process ended, if it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect("no user of the lock panics");
        child.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal; to a process that has ended, nothing.
    pub fn signal(&self, signal: Signal) {
        // While it is not waited for, the id cannot belong to another process.
        if self.is_running() {
            let pid = i32::try_from(self.pid).expect("process ids are positive i32");
            // It may end at this moment.
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills the process as a crash would, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no user of the lock panics");
        // Both fail only if it is gone already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks the process to end (SIGTERM) and waits until it has.
    pub fn stop(&self, patience: Duration) -> Result<ExitStatus, RigError> {
        self.signal(Signal::SIGTERM);
        waiting::until(&format!("the end of {}", self.name), patience, || {
            self.exit_status().ok_or_else(|| "it still runs".to_owned())
        })
    }

    /// Asks `attempt` until it succeeds, `patience` ends, or the process ends.
    ///
    /// Like [`waiting::until`], for what the process has to do: if it is dead, nobody waits.
    pub fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut attempt: impl FnMut() -> Result<T, String>,
    ) -> Result<T, RigError> {
        waiting::until(what, patience, || {
            // Before the attempt: what it did at last still counts.
            let status = self.exit_status();
            match (attempt(), status) {
                (Ok(value), _) => Ok(Ok(value)),
                (Err(_), Some(status)) => Ok(Err(self.ended(status))),
                (Err(last), None) => Err(last),
            }
        })?
    }

    /// What it wrote to stdout so far.
    #[must_use]
    pub fn output(&self) -> String {
        text(&self.stdout, 0)
    }

    /// What it wrote to stdout from byte `offset` on.
    #[must_use]
    pub fn output_from(&self, offset: u64) -> String {
        text(&self.stdout, offset)
    }

    /// What it wrote to stderr so far: its log.
    #[must_use]
    pub fn log(&self) -> String {
        text(&self.stderr, 0)
    }

    fn ended(&self, status: ExitStatus) -> RigError {
        RigError::Ended { program: self.name.clone(), status, log: self.log() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text(capture: &Capture, offset: u64) -> String {
    let bytes = capture.read_from(offset).expect("memory can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
