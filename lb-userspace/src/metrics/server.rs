//! Serves metrics and the two questions of an orchestrator: alive? ready?

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{Format, Report, encode};

/// A report that is being gathered.
pub type ReportFuture<'a> = Pin<Box<dyn Future<Output = Report> + Send + 'a>>;

/// What is asked about the daemon.
pub trait Observer: Send + Sync {
    /// Its present state.
    fn report(&self) -> ReportFuture<'_>;

    /// Whether it may be sent traffic; if not, why, one sentence each.
    fn readiness(&self) -> Result<(), Vec<String>>;
}

/// Connections at a time. Further ones wait, so that nobody can use up the daemon's descriptors.
const CONNECTIONS: usize = 32;
/// Longest time to gather a report, less than Prometheus waits by default.
const REPORT_WITHIN: Duration = Duration::from_secs(8);
/// Longest time from one request's end to the end of the next one's head: more than a minute, the
/// usual scrape interval.
const HEAD_WITHIN: Duration = Duration::from_secs(90);

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, observer: Arc<dyn Observer>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly too many open files, which will not be over at once.
                tracing::warn!(%error, "metrics: cannot accept a connection");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let observer = Arc::clone(&observer);
        tokio::spawn(async move {
            serve_connection(stream, observer).await;
            drop(place);
        });
    }
}

async fn serve_connection(stream: TcpStream, observer: Arc<dyn Observer>) {
    let service = service_fn(move |request| {
        let observer = Arc::clone(&observer);
        async move { Ok::<_, Infallible>(answer(&request, &*observer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "metrics: a connection ended early");
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: &Request<Incoming>, observer: &dyn Observer) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => metrics(request, observer).await,
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match observer.readiness() {
            Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
            Err(reasons) => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n".to_owned()),
    }
}

async fn metrics(request: &Request<Incoming>, observer: &dyn Observer) -> Answer {
    // The header may come several times, which means the same as one list.
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    let Ok(report) = timeout(REPORT_WITHIN, observer.report()).await else {
        let problem = format!("the daemon gave no report within {} s\n", REPORT_WITHIN.as_secs());
        return text(StatusCode::SERVICE_UNAVAILABLE, problem);
    };
    // Off this thread: health checks must not wait for it.
    let Ok(body) = spawn_blocking(move || encode(report, format)).await else {
        let problem = "the report could not be written\n".to_owned();
        return text(StatusCode::INTERNAL_SERVER_ERROR, problem);
    };
    let mut answer = text(StatusCode::OK, body);
    let content_type = HeaderValue::from_static(format.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests;
