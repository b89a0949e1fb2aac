//! What TLS sessions need, made once for all checks with the same options.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{tls::Within, tls_roots, tls_verifier::Verifier};
use crate::{health::CheckFailure, model::TlsOptions};

/// What of the options decides on a configuration.
type Key = (bool, Option<PathBuf>, Option<&'static [u8]>);

struct Made {
    config: Arc<ClientConfig>,
    trust: Trust,
}

/// Whom to trust, and how that was when it was looked at.
#[derive(Clone)]
enum Trust {
    Anybody,
    /// When the file of trusted certificates last changed, and its length.
    File(PathBuf, SystemTime, u64),
    Roots(Arc<RootCertStore>),
}

impl Trust {
    async fn of(options: &TlsOptions) -> Result<Self, CheckFailure> {
        if !options.verify {
            return Ok(Self::Anybody);
        }
        let Some(file) = &options.ca_file else {
            return Ok(Self::Roots(tls_roots::of_this_machine().await?));
        };
        let metadata = tokio::fs::metadata(file).await;
        let metadata = metadata.map_err(|error| unreadable(file, &error))?;
        let changed = metadata.modified().map_err(|error| unreadable(file, &error))?;
        Ok(Self::File(file.clone(), changed, metadata.len()))
    }

    /// Whether nothing has changed since.
    fn is_still(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Anybody, Self::Anybody) => true,
            (Self::File(file, time, length), Self::File(file_now, time_now, length_now)) => {
                (file, time, length) == (file_now, time_now, length_now)
            }
            (Self::Roots(roots), Self::Roots(roots_now)) => Arc::ptr_eq(roots, roots_now),
            _ => false,
        }
    }
}

/// As many as there are different options in all configurations since the start.
static MADE: Mutex<BTreeMap<Key, Made>> = Mutex::new(BTreeMap::new());

/// The configuration for these options. It is made when it is first asked for, and again when whom
/// to trust has changed.
pub(super) async fn config(
    options: &TlsOptions,
    within: Within,
) -> Result<Arc<ClientConfig>, CheckFailure> {
    let trust = Trust::of(options).await?;
    let file = options.ca_file.clone().filter(|_| options.verify);
    let key = (options.verify, file, within.name());
    if let Some(made) = made().get(&key)
        && made.trust.is_still(&trust)
    {
        return Ok(Arc::clone(&made.config));
    }
    let config = Arc::new(make(&trust, within).await?);
    made().insert(key, Made { config: Arc::clone(&config), trust });
    Ok(config)
}

/// What sessions of HTTP/1.1 need with whoever is trusted by those whom this machine trusts.
pub(crate) async fn trusting_this_machine() -> Result<Arc<ClientConfig>, CheckFailure> {
    config(&TlsOptions::default(), Within::Http1).await
}

fn made() -> std::sync::MutexGuard<'static, BTreeMap<Key, Made>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unreadable(file: &Path, error: &io::Error) -> CheckFailure {
    CheckFailure::Impossible(format!("ca_file {} cannot be read: {error}", file.display()))
}

async fn make(trust: &Trust, within: Within) -> Result<ClientConfig, CheckFailure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| CheckFailure::Impossible(format!("TLS: {error}")))?;
    let builder = match trust {
        Trust::Anybody => {
            let verifier = Arc::new(Verifier::of_any(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        Trust::File(file, ..) => {
            let verifier = Arc::new(listed(file, provider).await?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = within.name().map(<[u8]>::to_vec).into_iter().collect();
    // Each check is to see a whole handshake, as a new client does.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Trusts the certificates of a file, and whom these trust.
async fn listed(file: &Path, provider: Arc<CryptoProvider>) -> Result<Verifier, CheckFailure> {
    let text = tokio::fs::read(file).await.map_err(|error| unreadable(file, &error))?;
    let (mut certificates, mut roots) = (Vec::new(), RootCertStore::empty());
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate =
            certificate.ok().filter(|certificate| roots.add(certificate.clone()).is_ok());
        certificates
            .push(certificate.ok_or_else(|| not_pem(file, "holds what is no certificate"))?);
    }
    Verifier::of_listed(certificates, roots, provider)
        .map_err(|_| not_pem(file, "holds no certificate"))
}

fn not_pem(file: &Path, what: &str) -> CheckFailure {
    CheckFailure::Impossible(format!("ca_file {} {what}", file.display()))
}
