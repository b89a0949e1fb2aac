//! Events as documents, and the lines that those get who follow them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::broadcast::{self, error::RecvError},
};

use super::protocol::{Answer, Failure, FailureKind};
use crate::event::{Told, Wanted};

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Version of this document.
    pub version: u32,
    /// Which life of the daemon this is: when it began, in milliseconds since 1970. Numbers of
    /// events count from 1 in each.
    pub epoch: u64,
    /// Number of the last event of all; 0 before the first.
    pub last: u64,
    /// How many of those that were asked for are not kept any more, whatever they happened to.
    pub lost: u64,
    /// The oldest first.
    pub events: Vec<Told>,
}

/// Somebody who gets what happens from now on, a line each.
#[derive(Debug)]
pub struct Follower {
    /// All that happens.
    pub events: broadcast::Receiver<Arc<Told>>,
    /// What of it is told.
    pub wanted: Wanted,
}

impl Follower {
    /// Writes lines until the reader closes, or is so slow that events are lost: the last line says
    /// how many.
    pub(super) async fn serve(
        mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) {
        // It has nothing to say: all that can come is the end.
        let closes = async move { drop(reader.read_u8().await) };
        tokio::select! {
            () = closes => {}
            () = self.write(&mut writer) => {}
        }
    }

    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) {
        loop {
            let answer = match self.events.recv().await {
                Ok(told) if !self.wanted.includes(&told.event) => continue,
                Ok(told) => Answer::Event(Box::new(Told::clone(&told))),
                Err(RecvError::Lagged(lost)) => failed(
                    FailureKind::Timeout,
                    format!("read too slowly: {lost} events were lost; begin anew"),
                ),
                Err(RecvError::Closed) => {
                    failed(FailureKind::Unreachable, "lbd is stopping".to_owned())
                }
            };
            let Ok(mut line) = serde_json::to_vec(&answer) else { return };
            line.push(b'\n');
            let is_last = matches!(answer, Answer::Failed(_));
            // However long that takes: what happens meanwhile is bounded, and nobody waits for it.
            if writer.write_all(&line).await.is_err() || is_last {
                return;
            }
        }
    }
}

const fn failed(kind: FailureKind, message: String) -> Answer {
    Answer::Failed(Failure { kind, message })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncBufReadExt as _, BufReader},
        net::UnixStream,
        time::timeout,
    };

    use super::*;
    use crate::event::{Event, EventKind};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn told(sequence: u64, service: &str, reason: &str) -> Arc<Told> {
        let event = Event {
            kind: EventKind::Panic,
            service: Some(service.parse().expect("a name")),
            backend: None,
            from: None,
            to: Some("on".to_owned()),
            reason: reason.to_owned(),
        };
        Arc::new(Told { version: 1, epoch: 7, sequence, time_milliseconds: 9, event })
    }

    fn follow(capacity: usize, wanted: Wanted) -> (broadcast::Sender<Arc<Told>>, UnixStream) {
        let (sender, events) = broadcast::channel(capacity);
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let (reader, writer) = ours.into_split();
        tokio::spawn(Follower { events, wanted }.serve(reader, writer));
        (sender, theirs)
    }

    async fn next(lines: &mut BufReader<UnixStream>) -> Answer {
        let mut line = String::new();
        timeout(PATIENCE, lines.read_line(&mut line)).await.expect("in time").expect("open");
        serde_json::from_str(&line).expect("an answer")
    }

    #[tokio::test]
    async fn a_follower_gets_what_it_wants_as_it_happens() {
        let service = Some("web".parse().expect("a name"));
        let (sender, socket) = follow(16, Wanted { service, backend: None });
        let mut lines = BufReader::new(socket);
        for (sequence, service) in [(1, "dns"), (2, "web"), (3, "web")] {
            sender.send(told(sequence, service, "")).expect("it listens");
        }
        for expected in [2, 3] {
            let Answer::Event(told) = next(&mut lines).await else { panic!("no event") };
            assert_eq!(told.sequence, expected);
        }
        drop(sender);
        let Answer::Failed(failure) = next(&mut lines).await else { panic!("no end") };
        assert_eq!(failure.kind, FailureKind::Unreachable);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_lost() {
        const SENT: u64 = 2000;
        let (sender, socket) = follow(16, Wanted::default());
        // More than a socket holds.
        let reason = "x".repeat(4096);
        for sequence in 1..=SENT {
            sender.send(told(sequence, "web", &reason)).expect("it listens");
            tokio::task::yield_now().await;
        }
        let mut lines = BufReader::new(socket);
        let mut read = 0;
        let failure = loop {
            match next(&mut lines).await {
                Answer::Event(told) => {
                    read += 1;
                    assert_eq!(told.sequence, read, "without gaps until the end");
                }
                Answer::Failed(failure) => break failure,
                other => panic!("{other:?}"),
            }
        };
        // The last 16 are still there, but nobody gets them who has missed those before.
        let lost = SENT - read - 16;
        let expected = format!("read too slowly: {lost} events were lost; begin anew");
        assert_eq!(failure, Failure { kind: FailureKind::Timeout, message: expected });
        let mut rest = String::new();
        assert_eq!(lines.read_line(&mut rest).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn who_closes_makes_room() {
        let (sender, socket) = follow(16, Wanted::default());
        assert_eq!(sender.receiver_count(), 1);
        drop(socket);
        let gone = async {
            while sender.receiver_count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("it is noticed without an event");
    }
}
