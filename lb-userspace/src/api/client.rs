//! Asking the daemon.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::protocol::{Answer, Failure, FailureKind, LONGEST_LINE, Request};

/// Longest time that an answer may take: applying a large configuration takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the daemon behind `socket`.
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, Failure> {
    let answer = exchange(socket, request).map_err(|error| explain(socket, &error))?;
    match answer {
        Answer::Failed(failure) => Err(failure),
        answer => Ok(answer),
    }
}

fn exchange(socket: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).take(LONGEST_LINE).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}

fn explain(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            (FailureKind::Permission, format!("{socket}: you may not use it: try as root"))
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (FailureKind::Timeout, format!("lbd behind {socket} does not answer"))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => (
            FailureKind::Unreachable,
            format!("what answers behind {socket} is not an lbd of this version: {error}"),
        ),
        _ => (
            FailureKind::Unreachable,
            format!("no lbd behind {socket} ({error}): is it running, and is --socket right?"),
        ),
    };
    Failure { kind, message }
}
