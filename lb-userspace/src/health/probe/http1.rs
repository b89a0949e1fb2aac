//! One request over HTTP/1.1.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::Poll,
};

use futures_util::{FutureExt as _, future::FusedFuture};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

use super::{
    Budget,
    http::{Answer, MOST},
    tls::Stream,
};
use crate::health::{CheckFailure, Step, failure::cut};

/// Most of an answer's head.
const HEAD: usize = 64 * 1024;

/// Asks and reads the answer, with its body if that is wanted.
pub(super) async fn ask(
    stream: Box<dyn Stream>,
    request: Request<()>,
    wants_body: bool,
    budget: &Budget,
) -> Result<Answer, CheckFailure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD);
    let shaking = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = shaking.await.map_err(|error| failure(&error, Step::Answer))?;
    let mut connection = pin!(connection.fuse());
    let asking = sender.send_request(request.map(|()| Empty::new()));
    let answer = budget.step(Step::Answer, alongside(connection.as_mut(), asking)).await?;
    let answer = answer.map_err(|error| failure(&error, Step::Answer))?;
    let status = answer.status();
    let mut body = Vec::new();
    if wants_body {
        let reading = alongside(connection, read(answer.into_body(), &mut body));
        let read = budget.step(Step::Body, reading).await?;
        read.map_err(|error| failure(&error, Step::Body))?;
    }
    Ok(Answer { status, body })
}

async fn read(mut from: Incoming, into: &mut Vec<u8>) -> hyper::Result<()> {
    while into.len() < MOST
        && let Some(frame) = from.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            let room = MOST - into.len();
            into.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(())
}

/// Works on something that the connection brings forward. No task of its own for the connection:
/// it ends where the check ends, not some time later.
pub(super) async fn alongside<T>(
    mut connection: Pin<&mut (impl FusedFuture + ?Sized)>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if connection.is_terminated() {
            return Poll::Pending;
        }
        // Work may be done by what this brought, and is woken then.
        let _ = connection.as_mut().poll(context);
        work.as_mut().poll(context)
    })
    .await
}

fn failure(error: &hyper::Error, step: Step) -> CheckFailure {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        match inner.downcast_ref::<io::Error>() {
            Some(io) if io.raw_os_error().is_some() => return CheckFailure::broken(step, io),
            Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => return closed(step),
            _ => {}
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return closed(step);
    }
    CheckFailure::BadAnswer(format!("bad HTTP/1.1: {}", cut(error.to_string().as_bytes())))
}

fn closed(step: Step) -> CheckFailure {
    CheckFailure::Broken(step, "the connection was closed".to_owned())
}
