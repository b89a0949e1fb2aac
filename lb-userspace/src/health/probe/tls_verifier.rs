//! Whose certificates are taken, where it is not those that issuers whom this machine trusts have
//! issued.

use std::sync::Arc;

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::der::Decode as _;

/// Verifies certificates. That the server has the key of its certificate is always verified.
#[derive(Debug)]
pub(super) struct Verifier {
    taken: Taken,
    provider: Arc<CryptoProvider>,
}

/// What is taken.
#[derive(Debug)]
enum Taken {
    Any,
    /// The certificates of a list, and what these have issued.
    ///
    /// A certificate as `openssl req -x509` makes it says that it may issue others, and such a one is
    /// no server's for [`WebPkiServerVerifier`]. Who lists it means just that server.
    Listed {
        certificates: Vec<CertificateDer<'static>>,
        issued: Arc<WebPkiServerVerifier>,
    },
}

impl Verifier {
    /// Takes any certificate.
    pub(super) const fn of_any(provider: Arc<CryptoProvider>) -> Self {
        Self { taken: Taken::Any, provider }
    }

    /// Takes the same certificates as a list and as issuers.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn of_listed(
        certificates: Vec<CertificateDer<'static>>,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let issued = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let taken = Taken::Listed { certificates, issued: issued.build()? };
        Ok(Self { taken, provider })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.taken {
            Taken::Any => {}
            Taken::Listed { certificates, .. } if certificates.contains(leaf) => {
                is_valid(leaf, now)?;
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
            }
            Taken::Listed { issued, .. } => {
                return issued.verify_server_cert(leaf, others, name, stapled, now);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Fails if a certificate is not valid at this time.
fn is_valid(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = x509_cert::Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let validity = parsed.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}
