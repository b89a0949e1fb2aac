//! Listening for requests.

use std::{
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixSocket, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::protocol::{Answer, Failure, FailureKind, LONGEST_LINE, Request};
use crate::datapath::locks::{self, Holder};

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes. Nobody may be waiting any more.
    pub answer: oneshot::Sender<Answer>,
}

/// Longest time to write a request, so that nobody holds a connection for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens on a socket that root and its group may use. A socket that a former daemon left behind
/// is replaced, one behind which somebody answers is not.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    bind(socket)?.listen(BACKLOG)
}

/// Takes the place of the socket. Nobody can connect before it listens, and then only who may.
fn bind(socket: &Path) -> io::Result<UnixSocket> {
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(socket) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("there is a file of this name that is not a socket"));
        }
        if let Ok(other) = std::os::unix::net::UnixStream::connect(socket) {
            let holder = getsockopt(&other, PeerCredentials).ok();
            let holder = holder.and_then(|peer| Holder::with_pid(u32::try_from(peer.pid()).ok()?));
            let named = locks::named(holder.as_ref());
            let message = format!("another lbd{named} answers there: stop it, or name another");
            return Err(io::Error::other(message));
        }
        std::fs::remove_file(socket)?;
    }
    let bound = UnixSocket::new_stream()?;
    bound.bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    Ok(bound)
}

/// Serves until the future is dropped.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, calls.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "api: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, calls: mpsc::Sender<Call>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_LINE));
    let mut line = String::new();
    let answer = match timeout(PATIENCE, reader.read_line(&mut line)).await {
        Ok(Ok(0)) | Err(_) => return,
        Ok(Ok(_)) => answer(&line, &calls).await,
        Ok(Err(error)) => refuse(FailureKind::Usage, format!("unreadable request: {error}")),
    };
    let Ok(mut line) = serde_json::to_vec(&answer) else {
        return;
    };
    line.push(b'\n');
    // Who asked may be gone.
    let _ = timeout(PATIENCE, writer.write_all(&line)).await;
}

async fn answer(line: &str, calls: &mpsc::Sender<Call>) -> Answer {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return refuse(FailureKind::Usage, format!("not a request: {error}")),
    };
    let (sender, receiver) = oneshot::channel();
    let stopping = || refuse(FailureKind::Unreachable, "lbd is stopping".to_owned());
    if calls.send(Call { request, answer: sender }).await.is_err() {
        return stopping();
    }
    receiver.await.unwrap_or_else(|_| stopping())
}

const fn refuse(kind: FailureKind, message: String) -> Answer {
    Answer::Failed(Failure { kind, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_connects_before_only_the_right_ones_may() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lbd.sock");
        let bound = bind(&path).expect("free");
        let mode = std::fs::metadata(&path).expect("bound").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let refused = std::os::unix::net::UnixStream::connect(&path).expect_err("not yet");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bound.listen(BACKLOG).expect("bound");
        std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    }
}
