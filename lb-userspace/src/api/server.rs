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

use super::{
    events::Follower,
    protocol::{Answer, Failure, FailureKind, LONGEST_LINE, Request},
};
use crate::datapath::locks::{self, Holder};

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes. Nobody may be waiting any more.
    pub answer: oneshot::Sender<Reply>,
}

/// An answer, and perhaps more to come.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Who asked stays to hear what happens.
    pub follower: Option<Follower>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, follower: None }
    }
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
    let Reply { answer, follower } = match timeout(PATIENCE, reader.read_line(&mut line)).await {
        Ok(Ok(0)) | Err(_) => return,
        Ok(Ok(_)) => answer(&line, &calls).await,
        Ok(Err(error)) => refuse(FailureKind::Usage, format!("unreadable request: {error}")),
    };
    let Ok(mut line) = serde_json::to_vec(&answer) else {
        return;
    };
    line.push(b'\n');
    // Who asked may be gone.
    let written = timeout(PATIENCE, writer.write_all(&line)).await;
    if let (Some(follower), Ok(Ok(()))) = (follower, written) {
        follower.serve(reader, writer).await;
    }
}

async fn answer(line: &str, calls: &mpsc::Sender<Call>) -> Reply {
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

fn refuse(kind: FailureKind, message: String) -> Reply {
    Answer::Failed(Failure { kind, message }).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::broadcast;

    use super::*;
    use crate::{
        api::client,
        event::{Event, EventKind, Told, Wanted},
    };

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

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_follows_gets_further_lines_until_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lbd.sock");
        let (sender, mut calls) = mpsc::channel(1);
        tokio::spawn(serve(listen(&path).expect("free"), sender));
        let (events, heard) = broadcast::channel(16);
        let follower = Some(Follower { events: heard, wanted: Wanted::default() });
        let request =
            Request::Events { after: Some(7), service: None, backend: None, follow: true };
        let asking = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            let end = client::converse(&path, &request, |answer| {
                lines.push(answer);
                Ok(true)
            });
            (lines, end)
        });
        let call = calls.recv().await.expect("a call");
        assert!(matches!(call.request, Request::Events { after: Some(7), follow: true, .. }));
        let answer = Answer::Done("what was".to_owned());
        call.answer.send(Reply { answer, follower }).expect("it waits");
        for sequence in [8, 9] {
            let (kind, to) = (EventKind::Panic, Some("on".to_owned()));
            let reason = String::new();
            let event = Event { kind, service: None, backend: None, from: None, to, reason };
            let told = Told { version: 1, epoch: 7, sequence, time_milliseconds: 9, event };
            events.send(Arc::new(told)).expect("somebody follows");
        }
        drop(events);
        let (lines, end) = asking.await.expect("it ends");
        let [Answer::Done(_), Answer::Event(first), Answer::Event(second)] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((first.sequence, second.sequence), (8, 9));
        assert_eq!(end.expect_err("no lbd any more").kind, FailureKind::Unreachable);
    }
}
