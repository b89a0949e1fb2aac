//! Network namespaces without a name, and a cable between two of them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, Stdio},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

/// A network namespace without a name. It is gone when this is dropped, or when this process ends
/// in any way.
pub(crate) struct Namespace(File);

impl Namespace {
    /// Has nothing but a loopback interface, which is up.
    pub(crate) fn new() -> Self {
        let handle = thread::scope(|scope| {
            let maker = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace, as root");
                File::open("/proc/thread-self/ns/net").expect("a handle of it")
            });
            maker.join().expect("the thread ends well")
        });
        let namespace = Self(handle);
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `work` on a thread of this process that is inside.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs lines of iproute2 commands, without the leading `ip`.
    pub(crate) fn ip(&self, lines: &str) {
        self.enter(|| {
            let mut command = Command::new("ip");
            command.args(["-batch", "-"]).stdin(Stdio::piped());
            // SAFETY: system calls only, between fork and exec.
            unsafe { command.pre_exec(hide_mounts) };
            let mut child = command.spawn().expect("iproute2 is installed");
            let mut input = child.stdin.take().expect("stdin is piped");
            // If `ip` gives up early, its exit status says so.
            let _ = input.write_all(lines.as_bytes());
            drop(input);
            let status = child.wait().expect("ip is our child");
            assert!(status.success(), "ip {lines}: {status}");
        });
    }

    /// What an iproute2 command prints.
    pub(crate) fn show(&self, arguments: &str) -> String {
        self.enter(|| {
            let output = Command::new("ip")
                .args(arguments.split(' '))
                .output()
                .expect("iproute2 is installed");
            assert!(output.status.success(), "ip {arguments}: {output:?}");
            String::from_utf8(output.stdout).expect("ip prints text")
        })
    }

    /// Sets a kernel parameter below `/proc/sys/net`.
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/net/{key}"), value))
            .unwrap_or_else(|error| panic!("setting {key} to {value}: {error}"));
    }

    /// Like [`Self::enter`], on a thread that has lost every privilege but `CAP_NET_ADMIN`.
    pub(crate) fn enter_as_network_admin<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.enter(|| {
            keep_only_net_admin();
            work()
        })
    }

    /// Where an `ip` command finds this namespace.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Two namespaces and a cable between them, `eth0` at both ends.
pub(crate) struct Cable {
    /// Where the library runs: `10.0.0.1`, `fd00::1`.
    pub(crate) near: Namespace,
    /// Who answers: `10.0.0.2`, `10.0.0.3`, `fd00::2`.
    pub(crate) far: Namespace,
}

/// Hardware address of the near end.
pub(crate) const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Hardware address of the far end.
pub(crate) const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Cable {
    pub(crate) fn new() -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        for namespace in [&near, &far] {
            // Some defaults are copied from the machine's own network.
            for (key, value) in [
                ("ipv4/ip_forward", "0"),
                ("ipv4/conf/all/arp_ignore", "0"),
                ("ipv4/conf/default/ignore_routes_with_linkdown", "0"),
                ("ipv6/conf/all/disable_ipv6", "0"),
                ("ipv6/conf/default/disable_ipv6", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
            ] {
                namespace.sysctl(key, value);
            }
        }
        near.ip(&format!(
            "link add eth0 address 02:00:00:00:00:01 type veth \
             peer name eth0 address 02:00:00:00:00:02 netns {}",
            far.path(),
        ));
        // No addresses but these: the kernel would add its own some time after the link is up.
        // It asks for IPv6 neighbours from a link-local address only.
        near.ip("link set eth0 addrgenmode none\n\
                 address add 10.0.0.1/24 dev eth0\n\
                 address add fd00::1/64 dev eth0 nodad\n\
                 address add fe80::1/64 dev eth0 nodad\n\
                 link set eth0 up\n");
        far.ip("link set eth0 addrgenmode none\n\
                address add 10.0.0.2/24 dev eth0\n\
                address add 10.0.0.3/24 dev eth0\n\
                address add fd00::2/64 dev eth0 nodad\n\
                address add fe80::2/64 dev eth0 nodad\n\
                link set eth0 up\n");
        Self { near, far }
    }
}

/// Takes all other capabilities from the calling thread.
fn keep_only_net_admin() {
    const VERSION_3: u32 = 0x2008_0522;
    const NET_ADMIN: u32 = 1 << 12;
    let calling_thread = [VERSION_3, 0];
    // Effective, permitted, inheritable; then the same for the capabilities from 32 on.
    let sets = [NET_ADMIN, NET_ADMIN, 0, 0, 0, 0];
    // SAFETY: capset(2) only reads, a header of two words and, in this version, six words.
    let result =
        unsafe { libc::syscall(libc::SYS_capset, &raw const calling_thread, &raw const sets) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// To load a program, `ip` mounts a BPF file system, which must not stay behind on this machine.
fn hide_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let everything = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    Ok(mount(None::<&str>, "/", None::<&str>, everything, None::<&str>)?)
}
