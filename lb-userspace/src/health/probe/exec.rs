//! The check that a program passes.

use std::{
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::{Child, Command},
    sync::{Semaphore, SemaphorePermit},
    time,
};

use super::Budget;
use crate::{
    health::{CheckFailure, Endpoint, Step, WeightAdvice, failure::cut},
    model::{BackendName, ExecProbe, ExitCode},
    programs,
};

mod output;

use output::Output;

/// Runs the program and waits for its end; returns how long that took, and the weight that it asks
/// for.
///
/// It runs in a process group of its own, which is killed when the check has ended, however it
/// ended. At most 64 run at a time. A check waits for its turn for half of the time-out
/// at most, so that the program has the other half.
pub(super) async fn check(
    endpoint: &Endpoint,
    probe: &ExecProbe,
    budget: &Budget,
    backend: &BackendName,
) -> Result<(Duration, Option<WeightAdvice>), CheckFailure> {
    let turn = turn(&TURNS, budget).await?;
    let mut group = Group::spawn(command(endpoint, probe, budget, backend))
        .map_err(|error| unstarted(probe, &error))?;
    let mut output = Output::of(&mut group.child);
    let Ok(ended) = budget.take(group.ended(&mut output)).await else {
        group.end_unwatched(turn);
        return Err(CheckFailure::Stalled(Step::Program, budget.limit()));
    };
    ended.map_err(|error| CheckFailure::from_connect(&error))?;
    let status = group.end().await.map_err(|error| CheckFailure::from_connect(&error))?;
    judge(status, probe.exit_code, &output).map(|weight| (budget.spent(), weight))
}

/// So many programs run at a time.
const AT_A_TIME: usize = 64;

static TURNS: Semaphore = Semaphore::const_new(AT_A_TIME);

async fn turn<'a>(
    turns: &'a Semaphore,
    budget: &Budget,
) -> Result<SemaphorePermit<'a>, CheckFailure> {
    match time::timeout(budget.limit() / 2, turns.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        // Late, as a semaphore that nobody closes gives no error.
        _ => {
            let why = format!("{AT_A_TIME} programs of other checks are running");
            Err(CheckFailure::Impossible(why))
        }
    }
}

/// What the program gets to know: `LB_SERVICE` and `LB_BACKEND` say whom it is about,
/// `LB_ADDRESS` and `LB_PORT` whom to ask, `LB_CHECK_TIMEOUT_MS` how long it may run.
fn command(
    endpoint: &Endpoint,
    probe: &ExecProbe,
    budget: &Budget,
    backend: &BackendName,
) -> Command {
    let left = budget.limit().saturating_sub(budget.spent());
    let mut command = Command::new(&probe.program);
    command
        .args(&probe.arguments)
        .env_clear()
        .env("PATH", programs::PATH)
        .env("LB_SERVICE", backend.service.to_string())
        .env("LB_BACKEND", backend.address.to_string())
        .env("LB_ADDRESS", endpoint.remote.ip().to_string())
        .env("LB_PORT", endpoint.remote.port().to_string())
        .env("LB_CHECK_TIMEOUT_MS", left.as_millis().to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: what it calls between fork and exec are system calls, and nothing else.
    unsafe { command.pre_exec(programs::give_up) };
    command
}

/// A program and what it has started. Its end ends them all.
#[derive(Debug)]
struct Group {
    child: Child,
    /// Readable when the program has ended.
    end: AsyncFd<OwnedFd>,
}

impl Group {
    fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.kill_on_drop(true).spawn()?;
        match pidfd(&child).and_then(watch) {
            Ok(end) => Ok(Self { child, end }),
            Err(error) => {
                // Nothing else can be in its group yet that matters; the drop reaps it.
                let _ = child.start_kill();
                Err(error)
            }
        }
    }

    /// Waits for the program's end, without taking note of it, and reads what it says meanwhile.
    async fn ended(&self, output: &mut Output) -> io::Result<()> {
        tokio::select! {
            ended = self.end.readable() => ended.map(drop)?,
            never = output.read_on() => match never {},
        }
        output.read_rest().await;
        Ok(())
    }

    /// Ends what is left of the group, and takes note of the program's end.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.child.wait().await
    }

    /// The same for a program that would not end. In the kernel's hands, as on a file system that
    /// hangs, it cannot be killed at once: the check does not wait for that, but its turn does, so
    /// that such programs do not heap up.
    fn end_unwatched(mut self, turn: SemaphorePermit<'static>) {
        self.kill();
        tokio::spawn(async move {
            let _ = self.child.wait().await;
            drop(turn);
        });
    }

    /// The number of the group cannot belong to others yet: the program has it until its end was
    /// taken note of, and after that `id` knows it no more.
    fn kill(&self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // Fails if all have gone.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A check can be dropped at any time. The runtime takes note of the program's end then.
        self.kill();
    }
}

fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// A descriptor that becomes readable when the program ends; see pidfd_open(2).
fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    let id = child.id().ok_or(Errno::ESRCH)?;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(id), 0) };
    let fd = Errno::result(fd)?;
    // SAFETY: the call gave us this descriptor, close-on-exec, and nobody else knows it. It fits:
    // descriptors are of type `int`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Nothing of this is the backend's fault.
fn unstarted(probe: &ExecProbe, error: &io::Error) -> CheckFailure {
    match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
        Errno::EMFILE | Errno::ENFILE => CheckFailure::OutOfDescriptors,
        errno @ (Errno::EAGAIN | Errno::ENOMEM) => CheckFailure::Local(errno),
        errno => {
            let program = probe.program.display();
            CheckFailure::Impossible(format!("cannot run {program}: {}", errno.desc()))
        }
    }
}

fn judge(
    status: ExitStatus,
    meaning: ExitCode,
    output: &Output,
) -> Result<Option<WeightAdvice>, CheckFailure> {
    let how = match (status.code(), meaning) {
        (Some(0), _) => return Ok(None),
        (Some(code @ 2..=255), ExitCode::Weight) => {
            // At most 253.
            return Ok(Some(WeightAdvice::Weight((code - 2) as u16)));
        }
        (Some(code), _) => format!("program ended with exit code {code}"),
        (None, _) => format!("program was ended by {}", signal_name(status)),
    };
    let said = match output.first_line() {
        Some(line) => format!(": {}", cut(line)),
        None => String::new(),
    };
    Err(CheckFailure::Program(how + &said))
}

fn signal_name(status: ExitStatus) -> String {
    let signal = status.signal().unwrap_or_default();
    Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

#[cfg(test)]
mod tests;
