//! Servers for the tests of checks, in this process and on the loopback interface.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::Budget;
use crate::health::{CheckFailure, Endpoint};

/// Enough for any answer that comes.
pub(super) fn enough() -> Budget {
    Budget::new(Duration::from_secs(20))
}

/// Time for what does not end.
pub(super) const SHORT: Duration = Duration::from_millis(200);

/// Where a server of a test listens, without further wishes.
pub(super) fn endpoint(remote: SocketAddr) -> Endpoint {
    Endpoint { remote, source: None, steer: None }
}

/// A server that does the same with each connection, as long as the test lasts.
pub(super) async fn serve<F, Fut>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Sees a check fail because of its time, when that is over and not later.
pub(super) async fn fails_in_time<F>(check: F) -> CheckFailure
where
    F: Future<Output = Result<Duration, CheckFailure>>,
{
    let started = Instant::now();
    let failure = check.await.expect_err("does not end");
    assert!(started.elapsed() >= SHORT, "{failure}");
    assert!(started.elapsed() < SHORT + Duration::from_secs(10), "{failure}");
    failure
}

/// Sockets of ours that are, or were, connected to a server.
pub(super) fn left_behind(server: SocketAddr) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("socket table");
    let remote = format!("0100007F:{:04X}", server.port());
    let ours = |line: &&str| line.split_whitespace().nth(2) == Some(&remote);
    table.lines().filter(ours).map(str::to_owned).collect()
}

/// Somebody who issues certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new([]).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes down its own certificate.
    pub(super) fn save(&self, file: &Path) {
        std::fs::write(file, &self.pem).expect("written");
    }

    /// What a server for these names needs, valid until the end of a year.
    pub(super) fn server(&self, names: &[&str], until: i32, speaks: &[&[u8]]) -> TlsAcceptor {
        let key = KeyPair::generate().expect("key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = date_time_ymd(until, 12, 31);
        let leaf = params.signed_by(&key, &self.issuer).expect("signed");
        acceptor(&leaf, &key, speaks)
    }
}

/// What a server with this name needs whose certificate nobody else has issued, valid until the end
/// of a year, and that certificate as PEM. As `openssl req -x509` makes it, it says of itself that it
/// may issue others.
pub(super) fn self_signed(name: &str, until: i32) -> (TlsAcceptor, String) {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(until, 12, 31);
    let certificate = params.self_signed(&key).expect("signed");
    (acceptor(&certificate, &key, &[]), certificate.pem())
}

fn acceptor(certificate: &Certificate, key: &KeyPair, speaks: &[&[u8]]) -> TlsAcceptor {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("certificate");
    config.alpn_protocols = speaks.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
