//! What TLS sessions need, made once for all checks with the same options.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use tokio::task::spawn_blocking;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{tls::Within, tls_listed::Listed};
use crate::{health::CheckFailure, model::TlsOptions};

/// What of the options decides on a configuration.
type Key = (bool, Option<PathBuf>, Option<&'static [u8]>);

struct Made {
    config: Arc<ClientConfig>,
    /// When the file of trusted certificates last changed, and its length.
    stamp: Option<(SystemTime, u64)>,
}

/// As many as there are different options in all configurations since the start.
static MADE: Mutex<BTreeMap<Key, Made>> = Mutex::new(BTreeMap::new());

/// The configuration for these options. It is made when it is first asked for, and again when the
/// file of trusted certificates has changed.
pub(super) async fn config(
    options: &TlsOptions,
    within: Within,
) -> Result<Arc<ClientConfig>, CheckFailure> {
    let file = options.ca_file.as_deref().filter(|_| options.verify);
    let stamp = file.map(stamp).transpose()?;
    let key = (options.verify, file.map(Path::to_owned), within.name());
    if let Some(made) = made().get(&key)
        && made.stamp == stamp
    {
        return Ok(Arc::clone(&made.config));
    }
    let config = Arc::new(make(options.verify, file, within).await?);
    made().insert(key, Made { config: Arc::clone(&config), stamp });
    Ok(config)
}

/// What sessions of HTTP/1.1 need with whoever is trusted by those whom this machine trusts.
pub(crate) async fn trusting_this_machine() -> Result<Arc<ClientConfig>, CheckFailure> {
    config(&TlsOptions::default(), Within::Http1).await
}

fn made() -> std::sync::MutexGuard<'static, BTreeMap<Key, Made>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(file: &Path) -> Result<(SystemTime, u64), CheckFailure> {
    let read = || {
        let metadata = std::fs::metadata(file)?;
        Ok((metadata.modified()?, metadata.len()))
    };
    read().map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &io::Error) -> CheckFailure {
    CheckFailure::Impossible(format!("ca_file {} cannot be read: {error}", file.display()))
}

async fn make(
    verify: bool,
    file: Option<&Path>,
    within: Within,
) -> Result<ClientConfig, CheckFailure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| CheckFailure::Impossible(format!("TLS: {error}")))?;
    let builder = match (verify, file) {
        (false, _) => {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        (true, Some(file)) => {
            let verifier = Arc::new(listed(file, provider).await?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        (true, None) => builder.with_root_certificates(roots_of_this_machine().await?),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = within.name().map(<[u8]>::to_vec).into_iter().collect();
    // Each check is to see a whole handshake, as a new client does.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Trusts the certificates of a file, and whom these trust.
async fn listed(file: &Path, provider: Arc<CryptoProvider>) -> Result<Listed, CheckFailure> {
    let text = tokio::fs::read(file).await.map_err(|error| unreadable(file, &error))?;
    let (mut certificates, mut roots) = (Vec::new(), RootCertStore::empty());
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate =
            certificate.ok().filter(|certificate| roots.add(certificate.clone()).is_ok());
        certificates
            .push(certificate.ok_or_else(|| not_pem(file, "holds what is no certificate"))?);
    }
    Listed::new(certificates, roots, provider).map_err(|_| not_pem(file, "holds no certificate"))
}

fn not_pem(file: &Path, what: &str) -> CheckFailure {
    CheckFailure::Impossible(format!("ca_file {} {what}", file.display()))
}

/// Those whom this machine trusts, read once.
async fn roots_of_this_machine() -> Result<Arc<RootCertStore>, CheckFailure> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    /// Thousands of first checks must not take a thread each to wait for the same files.
    static READING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    let _turn = READING.lock().await;
    let roots = match ROOTS.get() {
        Some(roots) => Arc::clone(roots),
        // Goes on when a check's time is over, so that the next one finds it done.
        None => spawn_blocking(|| Arc::clone(ROOTS.get_or_init(read_roots)))
            .await
            .map_err(|error| CheckFailure::Impossible(format!("certificates: {error}")))?,
    };
    if roots.is_empty() {
        let why = "this machine trusts no certificates: install ca-certificates, or set ca_file";
        return Err(CheckFailure::Impossible(why.to_owned()));
    }
    Ok(roots)
}

fn read_roots() -> Arc<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "trusted certificates of this machine");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
}

/// Takes any certificate; that the server has its key is verified nevertheless.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
