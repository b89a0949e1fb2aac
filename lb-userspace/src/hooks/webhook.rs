//! Posts an event to a URL.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{Outcome, run::fit};
use crate::{
    event::Told,
    health::{Stream, bare_host, trusting_this_machine},
    programs::Heard,
};

/// Time between the first two attempts; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("connecting: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Exchange(#[from] hyper::Error),
    #[error("it answered {0}{1}")]
    Status(StatusCode, String),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl Fault {
    /// Whether another attempt may do better: what is refused for what it is stays refused.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status, _) => {
                let is_patient = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_server_error() || is_patient.contains(status)
            }
            Self::Connect(_) | Self::Exchange(_) | Self::Timeout(_) => true,
        }
    }
}

/// Posts the event as JSON, with so many further attempts if the first fails for a reason that may
/// pass; each has this time. Redirections are not followed.
pub(super) async fn call(url: &Uri, retries: u32, told: &Told, within: Duration) -> Outcome {
    persist(FIRST_PAUSE, retries, || attempt(url, told, within)).await
}

async fn persist<F: Future<Output = Result<(), Fault>>>(
    mut pause: Duration,
    retries: u32,
    mut attempt: impl FnMut() -> F,
) -> Outcome {
    for left in (0..=retries).rev() {
        match attempt().await {
            Ok(()) => return Outcome::Done,
            Err(fault) if left > 0 && fault.may_pass() => {
                sleep(pause).await;
                pause *= 2;
            }
            Err(Fault::Timeout(_)) => return Outcome::Timeout,
            Err(fault) => return Outcome::Failed(fault.to_string()),
        }
    }
    // There is a first attempt, whatever the number of further ones.
    Outcome::Failed("it was not tried".to_owned())
}

async fn attempt(url: &Uri, told: &Told, within: Duration) -> Result<(), Fault> {
    let exchange = async {
        let stream = connect(url).await.map_err(Fault::Connect)?;
        post(stream, url, told).await
    };
    timeout(within, exchange).await.unwrap_or(Err(Fault::Timeout(within)))
}

async fn connect(url: &Uri) -> io::Result<Box<dyn Stream>> {
    let is_encrypted = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((host(url), port)).await?;
    if !is_encrypted {
        return Ok(Box::new(stream));
    }
    let trusted = trusting_this_machine().await;
    let trusted = trusted.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Box::new(encrypt(stream, url, trusted).await?))
}

async fn encrypt(
    stream: TcpStream,
    url: &Uri,
    trusted: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host(url).to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(trusted).connect(name, stream).await
}

fn host(url: &Uri) -> &str {
    bare_host(url.host().unwrap_or_default())
}

async fn post(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &Uri,
    told: &Told,
) -> Result<(), Fault> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = pin!(connection);
    let mut exchange = pin!(async move {
        let answer = sender.send_request(request(url, told)).await?;
        judge(answer).await
    });
    tokio::select! {
        outcome = &mut exchange => outcome,
        // It carries the exchange; once it has ended that knows how it went.
        _ = &mut connection => exchange.await,
    }
}

fn request(url: &Uri, told: &Told) -> Request<Full<Bytes>> {
    // A document has string keys and finite numbers only, so it can always be written.
    let body = serde_json::to_vec(told).unwrap_or_default();
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = hyper::Method::POST;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    // Part of a checked URL.
    *request.uri_mut() = path.parse().unwrap_or_default();
    let mut set = |name, value: &str| {
        if let Ok(value) = value.parse() {
            request.headers_mut().insert(name, value);
        }
    };
    set(HOST, url.authority().map_or("", |authority| authority.as_str()));
    set(CONTENT_TYPE, "application/json");
    set(USER_AGENT, concat!("lbd/", env!("CARGO_PKG_VERSION")));
    request
}

async fn judge(answer: Response<Incoming>) -> Result<(), Fault> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let mut heard = Heard::default();
    let mut body = answer.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(bytes) = frame.data_ref() else { break };
        heard.add(bytes);
        if heard.is_full() {
            break;
        }
    }
    let said = heard.first_line().map(|line| format!(": {}", fit(line)));
    Err(Fault::Status(status, said.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
