//! A guest from power-on to its last word.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    kernel::Kernel,
    transcript::{Finished, State, Transcript, tail},
};

/// An emulated machine needs three seconds, and ten times as much beside a busy compiler.
const BOOT_WITHIN: Duration = Duration::from_secs(120);
/// Longest time without a word. The longest test takes a tenth of it.
const SPEAK_WITHIN: Duration = Duration::from_secs(240);

/// A guest to be.
pub(super) struct Guest<'a> {
    pub(super) kernel: &'a Kernel,
    /// Its file system.
    pub(super) image: &'a Path,
    /// A directory for its serial ports' output.
    pub(super) logs: &'a Path,
}

impl Guest<'_> {
    /// Runs the guest to its end and calls `ended` after each task.
    ///
    /// # Errors
    /// If it does not boot, twice, or stops in the middle of a task.
    pub(super) fn run(&self, mut ended: impl FnMut(&Finished)) -> Result<Vec<Finished>> {
        let mut transcript = self.attempt(&mut ended)?;
        if transcript.state() == State::Booting {
            // One of some thirty emulated machines hangs before its kernel's first word.
            eprintln!("   the guest did not boot within {BOOT_WITHIN:?}; trying once more");
            transcript = self.attempt(&mut ended)?;
        }
        if let Some(broken) = transcript.broken {
            bail!("{broken}; see {}", self.console().display());
        }
        if transcript.state() == State::Done {
            return Ok(transcript.finished);
        }
        let console = self.console();
        match transcript.unfinished() {
            None => bail!("the guest did not boot; see {}", console.display()),
            Some((task, output)) => bail!(
                "the guest fell silent in task {task}; the kernel's words are in {}, the task's \
                 last ones:\n{}",
                console.display(),
                tail(output)
            ),
        }
    }

    fn attempt(&self, ended: &mut impl FnMut(&Finished)) -> Result<Transcript> {
        let mut machine = Machine::start(&mut self.command()?)?;
        let mut record = File::create(self.log("tests"))
            .with_context(|| self.log("tests").display().to_string())?;
        let lines = machine.lines();
        let mut transcript = Transcript::default();
        let mut deadline = Instant::now() + BOOT_WITHIN;
        while transcript.state() != State::Done {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    writeln!(record, "{}", line.trim_end()).context("cannot write a log")?;
                    if let Some(finished) = transcript.take(&line) {
                        ended(finished);
                    }
                    // The firmware's words are none of the kernel's.
                    if transcript.state() == State::Working {
                        deadline = Instant::now() + SPEAK_WITHIN;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(transcript)
    }

    fn command(&self) -> Result<Command> {
        fs::create_dir_all(self.logs).with_context(|| self.logs.display().to_string())?;
        let mut command = Command::new("setpriv");
        // However we end, the guest ends with us.
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        // Never KVM, also where there is one: in a virtual machine its guests may not run.
        command.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "2048"]);
        command.args(["-nodefaults", "-display", "none", "-nic", "none", "-no-reboot"]);
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(self.image);
        // A panic ends the guest, thanks to -no-reboot.
        command.args(["-append", "console=ttyS0 rdinit=/init panic=-1"]);
        command.arg("-serial").arg(format!("file:{}", self.console().display()));
        command.args(["-serial", "stdio"]);
        Ok(command)
    }

    fn console(&self) -> PathBuf {
        self.log("console")
    }

    fn log(&self, what: &str) -> PathBuf {
        self.logs.join(format!("{}.{what}", self.kernel.series()))
    }
}

/// A running qemu, which ends with us.
struct Machine(Child);

impl Machine {
    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Ok(Self(command.spawn().context("cannot start qemu through setpriv")?))
    }

    /// What it writes, line by line. It has a thread, because time goes on without output.
    fn lines(&mut self) -> Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        let output: Box<dyn Read + Send> = Box::new(self.0.stdout.take().expect("it is piped"));
        thread::spawn(move || {
            for bytes in BufReader::new(output).split(b'\n') {
                let Ok(bytes) = bytes else { return };
                if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
