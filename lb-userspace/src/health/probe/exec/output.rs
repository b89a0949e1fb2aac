//! What a program says.

use std::{convert::Infallible, future::pending, pin::pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    time,
};

use crate::programs::Heard;

/// So much of each stream is read. Who writes more finds the pipe closed, and costs no more time.
const READ: usize = 1024 * 1024;

/// How long the rest of the output may take when the program has ended. It is there already, unless
/// somebody else holds the pipe.
const REST: Duration = Duration::from_millis(20);

/// What a program says.
#[derive(Debug)]
pub(super) struct Output {
    errors: Stream<tokio::process::ChildStderr>,
    output: Stream<tokio::process::ChildStdout>,
}

impl Output {
    /// Takes the pipes.
    pub(super) fn of(child: &mut Child) -> Self {
        Self { errors: Stream::new(child.stderr.take()), output: Stream::new(child.stdout.take()) }
    }

    /// Reads for as long as it is polled; can be stopped and continued at any time.
    pub(super) async fn read_on(&mut self) -> Infallible {
        tokio::join!(self.errors.read(), self.output.read());
        pending().await
    }

    /// Reads what is left in the pipes.
    pub(super) async fn read_rest(&mut self) {
        let reading = pin!(async { tokio::join!(self.errors.read(), self.output.read()) });
        let _ = time::timeout(REST, reading).await;
    }

    /// The first line that says something, of the errors if there is one, else of the output.
    pub(super) fn first_line(&self) -> Option<&[u8]> {
        self.errors.heard.first_line().or_else(|| self.output.heard.first_line())
    }
}

#[derive(Debug)]
struct Stream<P> {
    /// `None` when it has ended, or has said enough.
    pipe: Option<P>,
    heard: Heard,
    read: usize,
}

impl<P: AsyncRead + Unpin> Stream<P> {
    fn new(pipe: Option<P>) -> Self {
        Self { pipe, heard: Heard::default(), read: 0 }
    }

    async fn read(&mut self) {
        let mut piece = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            let length = pipe.read(&mut piece).await.unwrap_or(0);
            self.read += length;
            self.heard.add(&piece[..length]);
            if length == 0 || self.read >= READ {
                self.pipe = None;
            }
        }
    }
}
