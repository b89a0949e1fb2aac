//! An etcd of the test's own, on loopback, which ends with the test.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tempfile::TempDir;

const MISSING: &str = "etcd and etcdctl are needed for this test: run `cargo xtask setup`";

/// A running etcd, or one that was killed and can be restarted with its data.
pub(crate) struct Etcd {
    data: TempDir,
    client: u16,
    peer: u16,
    process: Child,
}

impl Etcd {
    pub(crate) fn start() -> Self {
        let data = TempDir::new().expect("temporary directory");
        let (client, peer) = (free_port(), free_port());
        let process = spawn(&data, client, peer);
        let etcd = Self { data, client, peer, process };
        etcd.wait();
        etcd
    }

    pub(crate) fn port(&self) -> u16 {
        self.client
    }

    pub(crate) fn url(&self) -> String {
        url(self.client)
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("reaped");
    }

    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.data, self.client, self.peer);
        self.wait();
    }

    /// Keeps its connections and says nothing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Forgets all revisions but the present one.
    pub(crate) fn compact(&self) {
        let status = self.control(&["get", "x", "--write-out=json"]);
        let (_, rest) = status.split_once("\"revision\":").expect("a header");
        let revision: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.control(&["compact", &revision]);
    }

    /// Runs etcdctl; returns what it prints.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let output = self.etcdctl().args(arguments).output().expect(MISSING);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {printed}{said}");
        printed
    }

    /// Runs requests, one a line, as one transaction.
    pub(crate) fn transaction(&self, requests: &str) {
        let mut etcdctl = self
            .etcdctl()
            .arg("txn")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect(MISSING);
        // No condition, the requests, and nothing for when the condition fails.
        let script = format!("\n{requests}\n\n");
        let mut input = etcdctl.stdin.take().expect("piped");
        input.write_all(script.as_bytes()).expect("etcdctl reads");
        drop(input);
        assert!(etcdctl.wait().expect("etcdctl ends").success());
    }

    fn etcdctl(&self) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]);
        command
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("signalled");
    }

    /// Waits until it serves, not only listens.
    fn wait(&self) {
        let started = Instant::now();
        let serves = || {
            TcpStream::connect(("127.0.0.1", self.client)).is_ok()
                && self.etcdctl().args(["get", "x"]).output().expect(MISSING).status.success()
        };
        while !serves() {
            assert!(started.elapsed() < Duration::from_secs(20), "etcd does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A URL where nobody listens.
pub(crate) fn free_url() -> String {
    url(free_port())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("address").port()
}

fn spawn(data: &TempDir, client: u16, peer: u16) -> Child {
    let (client, peer) = (url(client), url(peer));
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(data.path())
        .args(["--name", "test", "--initial-cluster", &format!("test={peer}")])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: between fork and exec only prctl(2) is called, which is a mere system call.
    unsafe {
        // Also when the test is killed, which runs no destructor.
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
    }
    command.spawn().expect(MISSING)
}
