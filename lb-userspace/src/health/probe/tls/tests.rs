use std::net::SocketAddr;

use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::health::probe::fixture::{
    Authority, SHORT, endpoint, enough, fails_in_time, left_behind, self_signed, serve,
};

const FAR: i32 = 2999;

/// Somebody who issues certificates, and the file with his own.
struct Trust {
    authority: Authority,
    folder: TempDir,
}

impl Trust {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), TempDir::new().expect("folder"));
        authority.save(&folder.path().join("ca.pem"));
        Self { authority, folder }
    }

    fn options(&self, name: &str) -> TlsOptions {
        TlsOptions {
            ca_file: Some(self.folder.path().join("ca.pem")),
            server_name: Some(name.to_owned()),
            ..TlsOptions::default()
        }
    }
}

/// A server that shakes hands and waits for the end.
async fn server(acceptor: TlsAcceptor) -> SocketAddr {
    serve(move |stream| {
        let accepting = acceptor.accept(stream);
        async move {
            if let Ok(mut session) = accepting.await {
                let _ = session.read(&mut [0; 16]).await;
            }
        }
    })
    .await
}

async fn failure(remote: SocketAddr, options: &TlsOptions) -> CheckFailure {
    check(&endpoint(remote), options, &enough()).await.expect_err("fails")
}

#[tokio::test]
async fn a_good_certificate_passes() {
    let trust = Trust::new();
    let remote = server(trust.authority.server(&["www.example.com", "127.0.0.1"], FAR, &[])).await;
    let options = TlsOptions { certificate_days: Some(30), ..trust.options("www.example.com") };
    check(&endpoint(remote), &options, &enough()).await.expect("for its name");
    let by_address = TlsOptions { server_name: None, ..options };
    check(&endpoint(remote), &by_address, &enough()).await.expect("for its address");
    assert_eq!(left_behind(remote), Vec::<String>::new());
}

#[tokio::test]
async fn faults_of_certificates_are_named() {
    let trust = Trust::new();
    let options = trust.options("www.example.com");
    let good = trust.authority.server(&["www.example.com"], FAR, &[]);
    let good = server(good).await;
    let old = server(trust.authority.server(&["www.example.com"], 2020, &[])).await;
    let stranger = Trust::new().options("www.example.com");
    let lasting = TlsOptions { certificate_days: Some(400_000), ..options.clone() };
    for (remote, options, expected) in [
        (good, trust.options("www.example.net"), "the certificate is not for www.example.net"),
        (old, options.clone(), "the certificate has expired"),
        (good, lasting, ", less than 400000"),
        (
            good,
            TlsOptions { ca_file: None, ..options.clone() },
            "the certificate was issued by nobody who is trusted",
        ),
    ] {
        let failure = failure(remote, &options).await;
        if options.ca_file.is_none() && failure.is_local() {
            // A machine that trusts nobody says so.
            continue;
        }
        let text = failure.to_string();
        assert!(text.starts_with("TLS failed: ") && text.ends_with(expected), "{text}");
        assert_eq!((failure.code(), failure.is_silent()), ("L6RSP", false));
    }
    // Its file is gone with its folder.
    let failure = failure(good, &stranger).await;
    assert!(failure.is_local(), "{failure}");
    assert!(failure.to_string().contains("ca.pem cannot be read: No such file"), "{failure}");
}

/// Else nobody who made a certificate with `openssl req -x509` could have it verified.
#[tokio::test]
async fn a_certificate_that_is_in_the_file_itself_is_trusted() {
    let trust = Trust::new();
    let file = |pem: &str| {
        let path = trust.folder.path().join(format!("{}.pem", pem.len()));
        std::fs::write(&path, pem).expect("written");
        Some(path)
    };
    let (acceptor, own) = self_signed("www.example.com", FAR);
    let remote = server(acceptor).await;
    let (acceptor, expired) = self_signed("www.example.com", 2020);
    let old = server(acceptor).await;
    let stranger = server(self_signed("www.example.com", FAR).0).await;
    let both = TlsOptions { ca_file: file(&(own + &expired)), ..trust.options("www.example.com") };
    check(&endpoint(remote), &both, &enough()).await.expect("it is in the file");
    let other_name = TlsOptions { server_name: Some("www.example.net".to_owned()), ..both.clone() };
    for (remote, options, expected) in [
        (remote, &other_name, "the certificate is not for www.example.net"),
        (old, &both, "the certificate has expired"),
    ] {
        let failure = failure(remote, options).await;
        assert_eq!(failure.to_string(), format!("TLS failed: {expected}"));
    }
    let failure = failure(stranger, &both).await;
    assert!(matches!(failure, CheckFailure::Tls(_)), "{failure}");
}

#[tokio::test]
async fn without_verification_only_the_key_and_the_days_count() {
    let trust = Trust::new();
    let options = TlsOptions { verify: false, ..TlsOptions::default() };
    let old = server(trust.authority.server(&["www.example.com"], 2020, &[])).await;
    check(&endpoint(old), &options, &enough()).await.expect("anybody's, of any age");
    let options = TlsOptions { certificate_days: Some(1), ..options };
    let failure = failure(old, &options).await;
    assert_eq!(failure.to_string(), "TLS failed: the certificate has expired");
}

/// Others are trusted from the next check on, without a restart.
#[tokio::test]
async fn a_changed_file_of_trusted_certificates_is_read_again() {
    let (trust, others) = (Trust::new(), Authority::new());
    let remote = server(others.server(&["www.example.com"], FAR, &[])).await;
    let options = trust.options("www.example.com");
    let file = trust.folder.path().join("ca.pem");
    assert!(matches!(failure(remote, &options).await, CheckFailure::Tls(_)));
    let other = trust.folder.path().join("other.pem");
    others.save(&other);
    // Another time of change, whatever the clock of the file system is.
    let later = SystemTime::now() + Duration::from_secs(10);
    let written = std::fs::File::options().append(true).open(&other).expect("open");
    written.set_modified(later).expect("touched");
    std::fs::rename(&other, &file).expect("renamed");
    check(&endpoint(remote), &options, &enough()).await.expect("trusted now");
    std::fs::write(&file, "no certificate").expect("written");
    let failure = failure(remote, &options).await;
    assert!(failure.to_string().ends_with("ca.pem holds no certificate"), "{failure}");
}

#[tokio::test]
async fn half_a_handshake_is_not_waited_for() {
    let silent = serve(|mut stream| async move {
        let mut hello = [0; 4096];
        while stream.read(&mut hello).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let options = TlsOptions { verify: false, ..TlsOptions::default() };
    let (endpoint, budget) = (endpoint(silent), Budget::new(SHORT));
    let failure = fails_in_time(check(&endpoint, &options, &budget)).await;
    assert_eq!(failure, CheckFailure::Stalled(Step::TlsHandshake, SHORT));
    assert_eq!((failure.code(), failure.is_silent()), ("L6TOUT", false));
    assert_eq!(left_behind(silent), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_tls_is_told() {
    let options = TlsOptions { verify: false, ..TlsOptions::default() };
    let mail = serve(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert_eq!(failure(mail, &options).await.to_string(), "TLS failed: what came is not TLS");
    let closing = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let failure = failure(closing, &options).await;
    assert_eq!(failure.to_string(), "TLS handshake failed: the connection was closed");
}

/// A resumed session would not show the certificate.
#[tokio::test]
async fn each_check_is_a_whole_handshake() {
    let trust = Trust::new();
    let acceptor = trust.authority.server(&["www.example.com"], FAR, &[]);
    let (sender, mut kinds) = tokio::sync::mpsc::unbounded_channel();
    let remote = serve(move |stream| {
        let (accepting, sender) = (acceptor.accept(stream), sender.clone());
        async move {
            let Ok(mut session) = accepting.await else { return };
            let _ = session.read(&mut [0; 16]).await;
            let _ = sender.send(session.get_ref().1.handshake_kind());
        }
    })
    .await;
    for _ in 0..3 {
        let options = trust.options("www.example.com");
        check(&endpoint(remote), &options, &enough()).await.expect("passes");
        let kind = kinds.recv().await.expect("a session");
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}
