//! One request over HTTP/2.

use std::pin::pin;

use futures_util::FutureExt as _;
use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use hyper::{HeaderMap, Request, Response, body::Bytes};

use super::{
    Budget,
    http::{Answer, MOST},
    http1::alongside,
    tls::Stream,
};
use crate::health::{CheckFailure, Step, failure::cut};

/// Most of an answer's head.
const HEAD: u32 = 64 * 1024;

/// Asks and reads the answer, with its body if that is wanted.
pub(super) async fn ask(
    stream: Box<dyn Stream>,
    request: Request<()>,
    wants_body: bool,
    budget: &Budget,
) -> Result<Answer, CheckFailure> {
    let most = if wants_body { Some(MOST) } else { None };
    let (head, body, _) = exchange(stream, request, None, most, budget).await?;
    Ok(Answer { status: head.status(), body })
}

/// Sends a request with a body, if there is one, and reads the head of the answer; with `most` also
/// so much of the body at most, and the trailers if there are any.
pub(super) async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<()>,
    body: Option<Bytes>,
    most: Option<usize>,
    budget: &Budget,
) -> Result<(Response<()>, Vec<u8>, HeaderMap), CheckFailure> {
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD);
    let shaking = budget.step(Step::Answer, builder.handshake::<_, Bytes>(stream)).await?;
    let (sender, connection) = shaking.map_err(|error| failure(&error, Step::Answer))?;
    let mut connection = pin!(connection.fuse());
    let asking = alongside(connection.as_mut(), send(sender, request, body));
    let answer = budget.step(Step::Answer, asking).await?;
    let (head, body) = answer.map_err(|error| failure(&error, Step::Answer))?.into_parts();
    let head = Response::from_parts(head, ());
    let Some(most) = most else { return Ok((head, Vec::new(), HeaderMap::new())) };
    let reading = alongside(connection.as_mut(), read(body, most));
    let read = budget.step(Step::Body, reading).await?;
    let (bytes, trailers) = read.map_err(|error| failure(&error, Step::Body))?;
    // Nobody asks any more: it says so, as far as that can be said at once.
    let _ = connection.now_or_never();
    Ok((head, bytes, trailers))
}

async fn send(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Response<RecvStream>, h2::Error> {
    let mut sender = sender.ready().await?;
    let (answer, mut sending) = sender.send_request(request, body.is_none())?;
    if let Some(body) = body {
        sending.send_data(body, true)?;
    }
    answer.await
}

async fn read(mut from: RecvStream, most: usize) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = from.data().await {
        let data = data?;
        from.flow_control().release_capacity(data.len())?;
        let room = most - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if bytes.len() == most {
            return Ok((bytes, HeaderMap::new()));
        }
    }
    Ok((bytes, from.trailers().await?.unwrap_or_default()))
}

fn failure(error: &h2::Error, step: Step) -> CheckFailure {
    match error.get_io() {
        Some(io) if io.raw_os_error().is_some() => CheckFailure::broken(step, io),
        Some(_) => CheckFailure::Broken(step, "the connection was closed".to_owned()),
        None => {
            let said = cut(error.to_string().as_bytes());
            CheckFailure::BadAnswer(format!("bad HTTP/2: {said}"))
        }
    }
}
