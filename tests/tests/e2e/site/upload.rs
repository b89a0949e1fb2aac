//! Uploads, of which the server compares every byte.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lb_tests::{Host, content};

/// The longest that nothing may move.
const PATIENCE: Duration = Duration::from_secs(10);
const PIECE: usize = 64 * 1024;

/// An upload that goes on in pieces.
pub(crate) struct Upload {
    stream: TcpStream,
    bytes: u64,
    offset: u64,
}

impl Upload {
    /// Announces so many bytes.
    pub(crate) fn start(client: &Host, target: SocketAddr, bytes: u64) -> io::Result<Self> {
        let mut stream = client.enter(|| TcpStream::connect_timeout(&target, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        Ok(Self { stream, bytes, offset: 0 })
    }

    /// Sends what is left. Returns how long that and the answer took.
    pub(crate) fn finish(mut self) -> io::Result<Duration> {
        let start = Instant::now();
        while self.offset < self.bytes {
            let length = (self.bytes - self.offset).min(PIECE as u64);
            self.stream.write_all(&content::bytes(self.offset, length as usize))?;
            self.offset += length;
        }
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer)?;
        let is_whole = answer.starts_with("HTTP/1.1 200 ")
            && answer.ends_with(&format!("\r\n{} bytes", self.bytes));
        is_whole.then(|| start.elapsed()).ok_or_else(|| io::Error::other(answer))
    }
}

/// Uploads so many bytes.
pub(crate) fn upload(client: &Host, target: SocketAddr, bytes: u64) -> io::Result<Duration> {
    Upload::start(client, target, bytes)?.finish()
}
