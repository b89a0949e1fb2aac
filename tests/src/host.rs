//! A machine of the test network.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
};

use crate::{
    error::RigError,
    namespaces::{Namespaces, die_with},
};

/// A network and a mount namespace without a name, as a machine of its own.
///
/// It has its own interfaces, sysfs, bpffs, `/run` and `/var/lib`, with `/run/lb` and
/// `/var/lib/lb` in them; the rest of the file system is the machine's. One process holds it: it
/// is killed when the `Host` is dropped, and by the kernel when this process dies in any way.
#[derive(Debug)]
pub struct Host {
    name: String,
    holder: Child,
    namespaces: Arc<Namespaces>,
}

impl Host {
    /// Makes a host with nothing but a loopback interface, which is up.
    pub fn new(name: &str) -> Result<Self, RigError> {
        check_fitness()?;
        let (holder, namespaces) = Namespaces::create().map_err(|source| RigError::Kernel {
            host: name.into(),
            action: "make its namespaces".into(),
            source,
        })?;
        let host = Self { name: name.into(), holder, namespaces: Arc::new(namespaces) };
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// The name for messages; the kernel does not know it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that holds the host: `nsenter -n -m -t PID` for people, `netns PID` for `ip`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run in this host and die with the thread that spawns it.
    ///
    /// For what should outlive the calling thread, hand the command to
    /// [`Daemon::start`](crate::Daemon::start).
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let namespaces = Arc::clone(&self.namespaces);
        let parent = std::process::id();
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
        unsafe {
            command.pre_exec(move || {
                die_with(parent)?;
                namespaces.enter()
            });
        }
        command
    }

    /// Runs a command to its end and returns what it wrote to stdout.
    pub fn run<S: AsRef<OsStr>>(&self, line: &[S]) -> Result<String, RigError> {
        let (program, arguments) = line.split_first().expect("a command line has a program");
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().map_err(|source| RigError::Start {
            program: program.as_ref().display().to_string(),
            source,
        })?;
        self.judge(&command, output)
    }

    /// Runs lines of iproute2 commands, without the leading `ip`.
    pub fn ip(&self, lines: &str) -> Result<(), RigError> {
        let mut command = self.command("ip");
        command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = |source| RigError::Start { program: "ip".into(), source };
        let mut child = command.spawn().map_err(start)?;
        let mut input = child.stdin.take().expect("stdin is piped");
        // `ip` may give up before it has read everything; its exit status tells why.
        let _ = input.write_all(lines.as_bytes());
        drop(input);
        let output = child.wait_with_output().map_err(start)?;
        self.judge(&command, output).map(drop).map_err(|error| match error {
            RigError::Command { output, .. } if output.contains("Command failed") => {
                RigError::Answer {
                    program: "ip",
                    problem: format!("host {}: {output}", self.name),
                    answer: numbered(lines),
                }
            }
            other => other,
        })
    }

    /// Sets a kernel parameter of this host's network, such as `ipv4/ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), RigError> {
        self.enter(|| fs::write(format!("/proc/sys/net/{key}"), value)).map_err(|source| {
            RigError::Kernel {
                host: self.name.clone(),
                action: format!("set net/{key} to {value}"),
                source,
            }
        })
    }

    /// Runs `work` on a thread of this process that is inside the host.
    ///
    /// For sockets and files of the host without a program of their own. A process started in
    /// `work` dies when `work` returns.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.namespaces
                    .enter()
                    .unwrap_or_else(|error| panic!("cannot enter host {}: {error}", self.name));
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Where this process finds the host's file `inside`, an absolute path.
    #[must_use]
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        Path::new("/proc")
            .join(self.pid().to_string())
            .join("root")
            .join(inside.strip_prefix("/").expect("a path inside a host is absolute"))
    }

    fn judge(&self, command: &Command, output: Output) -> Result<String, RigError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let errors = text(&output.stderr);
        Err(RigError::Command {
            host: self.name.clone(),
            command: command_line(command),
            status: output.status,
            output: if errors.is_empty() { text(&output.stdout) } else { errors },
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Both fail only if the holder is gone already, which is what is wanted.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A command line as a person would type it.
pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn numbered(lines: &str) -> String {
    let number = |(at, line)| format!("{:>4}: {line}\n", at + 1);
    lines.lines().enumerate().map(number).collect()
}

fn check_fitness() -> Result<(), RigError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(RigError::Unfit(
            "test hosts are network namespaces, and making those needs root",
        ));
    }
    let covered = |path: PathBuf| path.starts_with("/run") || path.starts_with("/var/lib");
    if std::env::current_exe().is_ok_and(covered) {
        return Err(RigError::Unfit(
            "test hosts have their own /run and /var/lib, so programs built below those cannot \
             run in them; set CARGO_TARGET_DIR to another place",
        ));
    }
    Ok(())
}
