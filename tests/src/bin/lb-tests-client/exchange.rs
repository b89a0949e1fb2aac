//! One HTTP/1.1 request over a connection of its own.
//!
//! Written out, not taken from a library: a failure has to be told from others by the step and
//! the error it came with, and libraries wrap, pool and retry.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use lb_tests::report::Reason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// The head of an answer, and what of its body came along.
pub(crate) struct Answer {
    pub(crate) stream: TcpStream,
    pub(crate) backend: String,
    pub(crate) length: u64,
    pub(crate) body: Vec<u8>,
}

/// Sends a request over a new connection and reads the head of the answer.
pub(crate) async fn get(
    target: SocketAddr,
    source: SocketAddr,
    path: &str,
) -> Result<Answer, Fault> {
    let mut stream = connect(target, source).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    let end = loop {
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut text).await? == 0 {
            return Err(Fault::truncated("the answer's head"));
        }
    };
    let body = text.split_off(end + 4);
    let head = String::from_utf8_lossy(&text);
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(Fault::wrong(head.lines().next().unwrap_or_default()));
    }
    let backend = header(&head, "x-backend")?.to_owned();
    let length = header(&head, "content-length")?;
    let length = length.parse().map_err(|_| Fault::wrong(length))?;
    Ok(Answer { stream, backend, length, body })
}

async fn connect(target: SocketAddr, source: SocketAddr) -> io::Result<TcpStream> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The port may have been used a minute ago.
    socket.set_reuseaddr(true)?;
    socket.bind(source)?;
    socket.connect(target).await
}

impl Answer {
    /// Reads the body to its end, which has to be where the head says. `look` sees each piece
    /// with its offset, and may refuse it.
    pub(crate) async fn read(
        mut self,
        mut look: impl FnMut(u64, &[u8]) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let mut offset = 0;
        let mut piece = self.body;
        loop {
            look(offset, &piece)?;
            offset += piece.len() as u64;
            if offset >= self.length {
                return if offset == self.length {
                    Ok(offset)
                } else {
                    Err(Fault::wrong("too long"))
                };
            }
            piece.clear();
            if self.stream.read_buf(&mut piece).await? == 0 {
                return Err(Fault::truncated(&format!("byte {offset} of {}", self.length)));
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Result<&'a str, Fault> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .ok_or_else(|| Fault::wrong(&format!("no {name} in the answer")))
}

impl Fault {
    pub(crate) fn wrong(detail: &str) -> Self {
        Self { reason: Reason::Wrong, detail: detail.into() }
    }

    fn truncated(place: &str) -> Self {
        Self { reason: Reason::Truncated, detail: format!("the connection ended at {place}") }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::ConnectionRefused => Reason::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Reason::Reset,
            ErrorKind::TimedOut | ErrorKind::HostUnreachable => Reason::Timeout,
            _ => Reason::Local,
        };
        Self { reason, detail: error.to_string() }
    }
}
