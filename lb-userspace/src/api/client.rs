//! Asking the daemon.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::protocol::{Answer, Failure, FailureKind, LONGEST_ANSWER, LONGEST_LINE, Request};

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

/// Asks the daemon behind `socket` and gives each line of its answer to `take`, which says whether it
/// wants more. The first has to come soon; the end of the daemon is an error.
pub fn converse(
    socket: &Path,
    request: &Request,
    mut take: impl FnMut(Answer) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let trouble = |error| explain(socket, &error);
    let mut stream = BufReader::new(send(socket, request).map_err(trouble)?);
    let mut answer = next_answer(&mut stream, LONGEST_ANSWER).map_err(trouble)?;
    loop {
        let wants_more = match answer {
            Answer::Failed(failure) => return Err(failure),
            answer => take(answer)?,
        };
        if !wants_more {
            return Ok(());
        }
        stream.get_ref().set_read_timeout(None).map_err(trouble)?;
        answer = next_answer(&mut stream, LONGEST_ANSWER).map_err(|error| gone(socket, &error))?;
    }
}

fn exchange(socket: &Path, request: &Request) -> io::Result<Answer> {
    next_answer(&mut BufReader::new(send(socket, request)?), LONGEST_ANSWER)
}

fn send(socket: &Path, request: &Request) -> io::Result<UnixStream> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    if line.len() as u64 > LONGEST_LINE {
        let message = format!("the request is longer than {} MiB", LONGEST_LINE >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&line)?;
    Ok(stream)
}

fn next_answer(stream: &mut impl io::BufRead, longest: u64) -> io::Result<Answer> {
    let mut answer = Vec::new();
    stream.take(longest).read_until(b'\n', &mut answer)?;
    if answer.last() == Some(&b'\n') {
        return Ok(serde_json::from_slice(&answer)?);
    }
    if answer.len() as u64 == longest {
        let message = format!("the answer is longer than {} MiB: ask for less", longest >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Why no further line comes.
fn gone(socket: &Path, error: &io::Error) -> Failure {
    let message = format!("lbd behind {} has ended, or was ended: {error}", socket.display());
    Failure { kind: FailureKind::Unreachable, message }
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
        io::ErrorKind::FileTooLarge => (FailureKind::Negative, error.to_string()),
        _ => (
            FailureKind::Unreachable,
            format!("no lbd behind {socket} ({error}): is it running, and is --socket right?"),
        ),
    };
    Failure { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(answer: &str) -> Failure {
        let error = next_answer(&mut answer.as_bytes(), 16).expect_err(answer);
        explain(Path::new("/run/lb/lbd.sock"), &error)
    }

    #[test]
    fn an_answer_is_whole_or_an_error() {
        assert!(matches!(
            next_answer(&mut "{\"done\":\"\"}\n".as_bytes(), 16),
            Ok(Answer::Done(_))
        ));
        for broken in ["", "{\"done\"", "{\"done\":\"\"}", "{\"done\":1}\n"] {
            assert_eq!(failure(broken).kind, FailureKind::Unreachable, "{broken}");
        }
        let too_long = failure("{\"done\":\"and then\"}\n");
        assert_eq!(too_long.kind, FailureKind::Negative);
        assert!(too_long.message.starts_with("the answer is longer than"), "{too_long}");
    }
}
