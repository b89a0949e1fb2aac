//! Answers the checks from a process of its own, whose processor time is not the checker's.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::Context as _;
use tokio::net::TcpSocket;

/// The verb by which this program starts itself to answer.
pub(super) const VERB: &str = "answer-checks";

/// A process that accepts connections to any address of this machine.
#[derive(Debug)]
pub(super) struct Listener {
    process: Child,
    port: u16,
}

impl Listener {
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().context("it was started with a pipe")?;
        let read = BufReader::new(output).read_line(&mut line);
        // Whatever it said, it is ended with this.
        let mut listener = Self { process, port: 0 };
        read?;
        listener.port = line.trim().parse().with_context(|| format!("`{line}` is no port"))?;
        Ok(listener)
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone already is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Accepts connections until standard input ends, and prints the port first.
pub fn answer() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        socket.listen(4096)?.into_std()
    })?;
    listener.set_nonblocking(false)?;
    println!("{}", listener.local_addr()?.port());
    for _ in 0..2 {
        let listener = listener.try_clone()?;
        thread::spawn(move || accept(&listener));
    }
    // Ends with whoever started it.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Reads each connection to its end before it closes it: who closes first keeps TIME_WAIT.
fn accept(listener: &TcpListener) {
    for connection in listener.incoming() {
        // A connection that is gone already is none.
        let _ = connection.and_then(|mut connection| connection.read(&mut [0; 16]));
    }
}
