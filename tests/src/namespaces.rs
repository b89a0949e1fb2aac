//! The kernel's side of a host: making its namespaces, and entering them.

use std::{
    fs::File,
    io,
    os::unix::process::{CommandExt as _, parent_id},
    process::{Child, Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal, stat::Mode},
    unistd::mkdir,
};

use crate::keeper;

/// Handles of a host's network and mount namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    network: File,
    mounts: File,
}

impl Namespaces {
    /// Starts the process that holds a new pair of namespaces.
    pub(crate) fn create() -> io::Result<(Child, Self)> {
        let holder = keeper::run(start_holder)?;
        let handle = |kind| File::open(format!("/proc/{}/ns/{kind}", holder.id()));
        let namespaces = Self { network: handle("net")?, mounts: handle("mnt")? };
        Ok((holder, namespaces))
    }

    /// Moves the calling thread into the namespaces, for good.
    pub(crate) fn enter(&self) -> io::Result<()> {
        // A thread that shares its working directory with others may not change mount namespace.
        unshare(CloneFlags::CLONE_FS)?;
        setns(&self.network, CloneFlags::CLONE_NEWNET)?;
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
        Ok(())
    }
}

/// Asks the kernel to kill the calling process when the thread that started it ends.
///
/// For a child between fork and exec: it only makes system calls.
pub(crate) fn die_with(parent: u32) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the request was made; then nobody would send the signal.
    if parent_id() != parent {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

/// `spawn` returns when the child has executed `sleep`, so after it has made everything.
fn start_holder() -> io::Result<Child> {
    let parent = std::process::id();
    let mut command = Command::new("sleep");
    command.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only system calls are made, on constants: no allocation, no
    // lock, so it does not matter what other threads of this process were doing.
    unsafe {
        command.pre_exec(move || {
            die_with(parent)?;
            isolate()
        });
    }
    command.spawn()
}

/// Gives the calling process its own network and its own view of what a load balancer writes.
///
/// All of `/run` and `/var/lib` is covered, not only the folders of `lb`: a mount needs a mount
/// point, and making one below the real folders would leave it on the machine.
fn isolate() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    // sysfs shows the interfaces of the network namespace that it was mounted in.
    for (kind, target) in
        [("sysfs", "/sys"), ("bpf", "/sys/fs/bpf"), ("tmpfs", "/run"), ("tmpfs", "/var/lib")]
    {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(kind), target, Some(kind), flags, None::<&str>)?;
    }
    for folder in ["/run/lb", "/var/lib/lb"] {
        mkdir(folder, Mode::from_bits_truncate(0o755))?;
    }
    Ok(())
}
