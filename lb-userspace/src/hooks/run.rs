//! Runs a program for an event.

use std::{
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, SystemTime},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};

use super::Outcome;
use crate::{
    event::Told,
    programs::{self, Heard},
};

/// Characters of what a program says that are told.
const TOLD: usize = 200;
/// Longest time that a program that has ended may take to have its last words read: a process that
/// it left behind may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs a program with the event in its environment and as JSON on its standard input. At its
/// time-out it is killed together with all that it began.
pub(super) async fn run(
    program: &Path,
    arguments: &[String],
    told: &Told,
    within: Duration,
) -> Outcome {
    let mut leader = match command(program, arguments, told).spawn() {
        Ok(child) => Leader(child),
        Err(error) => return Outcome::Failed(format!("{}: {error}", program.display())),
    };
    let ended = timeout(within, attend(&mut leader.0, told)).await;
    match ended {
        Ok(Ok((status, said))) => judge(status, &said),
        Ok(Err(error)) => Outcome::Failed(format!("{}: {error}", program.display())),
        Err(_) => {
            leader.kill_group();
            // It is dead or about to be: SIGKILL cannot be caught.
            let _ = leader.0.wait().await;
            Outcome::Timeout
        }
    }
}

fn command(program: &Path, arguments: &[String], told: &Told) -> Command {
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().envs(environment(told)).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: between fork and exec it makes system calls and nothing else.
    unsafe { command.pre_exec(programs::give_up) };
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}

fn environment(told: &Told) -> [(&'static str, String); 9] {
    let event = &told.event;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(told.time_milliseconds);
    [
        ("PATH", programs::PATH.to_owned()),
        ("LB_EVENT", event.kind.name().to_owned()),
        ("LB_SERVICE", event.service.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("LB_BACKEND", event.backend.map(|address| address.to_string()).unwrap_or_default()),
        ("LB_FROM", plain(event.before())),
        ("LB_TO", plain(event.now())),
        ("LB_REASON", plain(&event.reason)),
        ("LB_TIME", humantime::format_rfc3339_millis(time).to_string()),
        ("LB_SEQUENCE", told.sequence.to_string()),
    ]
}

/// Text without control characters: some of it comes from registries and backends.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Writes the event, and reads what is said until the program ends.
async fn attend(child: &mut Child, told: &Told) -> std::io::Result<(ExitStatus, String)> {
    if let Some(mut input) = child.stdin.take() {
        let mut line = serde_json::to_vec(told)?;
        line.push(b'\n');
        // It need not read.
        let _ = input.write_all(&line).await;
    }
    let (mut errors, mut output) = (Heard::default(), Heard::default());
    let (stderr, stdout) = (child.stderr.take(), child.stdout.take());
    let status = {
        let mut listening = std::pin::pin!(async {
            tokio::join!(listen(stderr, &mut errors), listen(stdout, &mut output))
        });
        tokio::select! {
            status = child.wait() => {
                let _ = timeout(LAST_WORDS, listening).await;
                status?
            }
            _ = &mut listening => child.wait().await?,
        }
    };
    let said = errors.first_line().or_else(|| output.first_line());
    Ok((status, said.map(fit).unwrap_or_default()))
}

fn judge(status: ExitStatus, said: &str) -> Outcome {
    if status.success() {
        return Outcome::Done;
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    Outcome::Failed(if said.is_empty() { how } else { format!("{how}: {said}") })
}

/// What others say, fit for a log.
pub(super) fn fit(said: &[u8]) -> String {
    plain(&String::from_utf8_lossy(said)).chars().take(TOLD).collect()
}

async fn listen(from: Option<impl AsyncRead + Unpin>, to: &mut Heard) {
    let Some(mut from) = from else { return };
    let mut space = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut space).await {
        to.add(&space[..length]);
    }
}

/// A program that has begun a group of processes. All of it is killed when nobody waits for the
/// program any more, but not once it has ended: its number may be another's then.
struct Leader(Child);

impl Leader {
    fn kill_group(&self) {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // They may all have ended.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill_group();
    }
}

#[cfg(test)]
mod tests;
