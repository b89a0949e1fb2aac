//! The check that a TLS session can be made, and the sessions that other checks speak over.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError,
        pki_types::{CertificateDer, ServerName},
    },
};
use x509_cert::der::Decode as _;

use super::{
    Budget,
    dial::{self, Connection},
    host::bare_host,
    tls_config,
};
use crate::{
    health::{CheckFailure, Endpoint, Step, failure::cut},
    model::TlsOptions,
};

/// What is spoken within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Within {
    /// Nothing that we care about.
    Anything,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by agreement in the handshake.
    Http2,
}

impl Within {
    /// Its name in the handshake (RFC 7301), if it has to be named.
    pub(super) const fn name(self) -> Option<&'static [u8]> {
        match self {
            Self::Anything => None,
            Self::Http1 => Some(b"http/1.1"),
            Self::Http2 => Some(b"h2"),
        }
    }
}

/// A connection, whether encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes a session and ends it; returns how long that took.
pub(super) async fn check(
    endpoint: &Endpoint,
    options: &TlsOptions,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let session = session(endpoint, options, None, Within::Anything, budget).await?;
    let spent = budget.spent();
    // It has passed, however the end goes.
    let _ = budget.take(part(session)).await;
    Ok(spent)
}

/// Connects, and encrypts if there are options for it. `host` is the name to ask for where these do
/// not have one.
pub(super) async fn open(
    endpoint: &Endpoint,
    options: Option<&TlsOptions>,
    host: Option<&str>,
    within: Within,
    budget: &Budget,
) -> Result<Box<dyn Stream>, CheckFailure> {
    match options {
        None => Ok(Box::new(dial::connect(endpoint, budget).await?)),
        Some(options) => Ok(Box::new(session(endpoint, options, host, within, budget).await?)),
    }
}

/// Says that nothing more will come, and lets the server answer that. For it the handshake is over
/// after us, and it may want to send what resumes the session then: were we gone, it would have a
/// broken handshake to log. Who ends the connection after this is the server, as it should be.
async fn part(mut session: TlsStream<Connection>) {
    /// Longer than the way there and back in most networks. Some servers wait for our end.
    const LONGEST: Duration = Duration::from_millis(100);

    let parting = async {
        session.shutdown().await?;
        let mut most = session.take(MOST_LEFT);
        tokio::io::copy(&mut most, &mut tokio::io::sink()).await
    };
    let _ = time::timeout(LONGEST, parting).await;
}

/// Bytes that a server may still have to say.
const MOST_LEFT: u64 = 64 * 1024;

async fn session(
    endpoint: &Endpoint,
    options: &TlsOptions,
    host: Option<&str>,
    within: Within,
    budget: &Budget,
) -> Result<TlsStream<Connection>, CheckFailure> {
    let name = server_name(options, host, endpoint.remote.ip())?;
    let config = budget.take(tls_config::config(options, within)).await.map_err(|_| {
        CheckFailure::Impossible("trusted certificates were not read in time".to_owned())
    })??;
    let connection = dial::connect(endpoint, budget).await?;
    let handshake = TlsConnector::from(config).connect(name.clone(), connection);
    let session = budget
        .step(Step::TlsHandshake, handshake)
        .await?
        .map_err(|error| failure(&error, &name))?;
    let (_, state) = session.get_ref();
    if within == Within::Http2 && state.alpn_protocol() != within.name() {
        let why = "the server does not offer HTTP/2 in the handshake (ALPN)".to_owned();
        return Err(CheckFailure::Tls(why));
    }
    if let (Some(days), Some([leaf, ..])) = (options.certificate_days, state.peer_certificates()) {
        outlasts(leaf, days)?;
    }
    Ok(session)
}

fn server_name(
    options: &TlsOptions,
    host: Option<&str>,
    remote: IpAddr,
) -> Result<ServerName<'static>, CheckFailure> {
    let Some(name) = options.server_name.as_deref().or(host) else {
        return Ok(ServerName::from(remote));
    };
    let name = bare_host(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| CheckFailure::Impossible(format!("`{name}` cannot be a server's name")))
}

/// Fails if the certificate is valid for fewer days than this.
fn outlasts(leaf: &CertificateDer<'_>, days: u32) -> Result<(), CheckFailure> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    let certificate = x509_cert::Certificate::from_der(leaf)
        .map_err(|_| CheckFailure::Tls("the certificate cannot be read".to_owned()))?;
    let until = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match until.checked_sub(now) {
        None => Err(CheckFailure::Tls("the certificate has expired".to_owned())),
        Some(left) if left < DAY * days => {
            let left = left.as_secs() / DAY.as_secs();
            let noun = if left == 1 { "day" } else { "days" };
            let why = format!("the certificate expires in {left} {noun}, less than {days}");
            Err(CheckFailure::Tls(why))
        }
        Some(_) => Ok(()),
    }
}

fn failure(error: &std::io::Error, name: &ServerName<'_>) -> CheckFailure {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        let how = "the connection was closed".to_owned();
        return CheckFailure::Broken(Step::TlsHandshake, how);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let why = match inner {
        None => return CheckFailure::broken(Step::TlsHandshake, error),
        Some(rustls::Error::InvalidCertificate(fault)) => certificate_fault(fault, name),
        Some(rustls::Error::InvalidMessage(_)) => "what came is not TLS".to_owned(),
        Some(rustls::Error::AlertReceived(alert)) => format!("the server refuses: {alert:?}"),
        Some(other) => cut(other.to_string().as_bytes()),
    };
    CheckFailure::Tls(why)
}

fn certificate_fault(fault: &CertificateError, name: &ServerName<'_>) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the certificate was issued by nobody who is trusted".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is not for {}", name.to_str())
        }
        other => format!("the certificate is bad: {}", cut(format!("{other:?}").as_bytes())),
    }
}

#[cfg(test)]
mod tests;
