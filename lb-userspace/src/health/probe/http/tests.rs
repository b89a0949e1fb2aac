use std::sync::{Arc, Mutex};

use hyper::body::Bytes;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::{
    health::{
        Step,
        probe::fixture::{Authority, SHORT, endpoint, enough, fails_in_time, left_behind, serve},
    },
    model::TlsOptions,
};

/// Reads the head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("text")
}

/// A server that says the same to everybody and waits for the end.
async fn says(answer: &'static str) -> SocketAddr {
    serve(move |mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await
}

async fn failure(remote: SocketAddr, probe: &HttpProbe) -> CheckFailure {
    check(&endpoint(remote), probe, &enough()).await.expect_err("fails")
}

fn with_body(pattern: &str) -> HttpProbe {
    HttpProbe { body: pattern.parse().ok(), ..HttpProbe::default() }
}

#[tokio::test]
async fn the_request_is_the_one_that_was_asked_for() {
    let heard = Arc::new(Mutex::new(String::new()));
    let notes = Arc::clone(&heard);
    let remote = serve(move |mut stream| {
        let notes = Arc::clone(&notes);
        async move {
            *notes.lock().expect("notes") = head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    check(&endpoint(remote), &HttpProbe::default(), &enough()).await.expect("passes");
    let usual = heard.lock().expect("notes").clone();
    let expected = format!(
        "GET / HTTP/1.1\r\nuser-agent: {AGENT}\r\nhost: {remote}\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(usual, expected);
    let mut probe = HttpProbe {
        method: hyper::Method::HEAD,
        path: "/health?deep=1".parse().expect("path"),
        host: "www.example.com".parse().ok(),
        ..HttpProbe::default()
    };
    probe.headers.insert("user-agent", "curious".parse().expect("value"));
    probe.headers.insert("x-check", "1".parse().expect("value"));
    check(&endpoint(remote), &probe, &enough()).await.expect("passes");
    let special = heard.lock().expect("notes").clone();
    assert!(special.starts_with("HEAD /health?deep=1 HTTP/1.1\r\n"), "{special}");
    for line in ["host: www.example.com", "user-agent: curious", "x-check: 1"] {
        assert_eq!(special.matches(&format!("{line}\r\n")).count(), 1, "{line}: {special}");
    }
    assert!(!special.contains(AGENT), "{special}");
}

#[tokio::test]
async fn the_status_decides() {
    let remote = says("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    let failure = failure(remote, &HttpProbe::default()).await;
    assert_eq!(failure.to_string(), "status 503 Service Unavailable, expected 200-399");
    assert_eq!((failure.code(), failure.is_silent()), ("L7STS", false));
    let probe = HttpProbe { status: "401,503".parse().expect("set"), ..HttpProbe::default() };
    check(&endpoint(remote), &probe, &enough()).await.expect("passes");
}

#[tokio::test]
async fn the_body_decides_if_it_is_asked_for() {
    let remote = says("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nstate=2").await;
    check(&endpoint(remote), &with_body("state=\\d$"), &enough()).await.expect("passes");
    let failure = failure(remote, &with_body("state=1")).await;
    assert_eq!(failure.to_string(), "status 200 OK, but the body lacks state=1");
    assert_eq!(failure.code(), "L7RSP");
    let chunked = says(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nal\r\n3\r\nive\r\n0\r\n\r\n",
    );
    let remote = chunked.await;
    check(&endpoint(remote), &with_body("^alive$"), &enough()).await.expect("passes");
}

#[tokio::test]
async fn what_is_not_http_is_shown() {
    let remote = says("220 mail.example.com ESMTP\r\n").await;
    let failure = failure(remote, &HttpProbe::default()).await;
    assert!(matches!(&failure, CheckFailure::BadAnswer(_)), "{failure:?}");
    assert!(failure.to_string().starts_with("bad HTTP/1.1: "), "{failure}");
    let closing = serve(|mut stream| async move {
        head(&mut stream).await;
    })
    .await;
    let failure = self::failure(closing, &HttpProbe::default()).await;
    assert_eq!(failure.to_string(), "no answer: the connection was closed");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_none() {
    let remote = serve(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine").await;
    })
    .await;
    let failure = failure(remote, &with_body("fine")).await;
    assert!(matches!(failure, CheckFailure::Broken(Step::Body, _)), "{failure:?}");
    // Nobody looks at it.
    check(&endpoint(remote), &HttpProbe::default(), &enough()).await.expect("passes");
}

#[tokio::test]
async fn each_step_has_the_same_end() {
    let endless = serve(|mut stream| async move {
        head(&mut stream).await;
        let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nalive").await;
        while said.is_ok() {
            tokio::time::sleep(SHORT / 20).await;
            said = stream.write_all(b".").await;
        }
    })
    .await;
    let endless_head = serve(|mut stream| async move {
        let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while said.is_ok() {
            tokio::time::sleep(SHORT / 20).await;
            said = stream.write_all(b"x: y\r\n").await;
        }
    })
    .await;
    for (remote, step) in
        [(says("").await, Step::Answer), (endless_head, Step::Answer), (endless, Step::Body)]
    {
        let (endpoint, probe, budget) = (endpoint(remote), with_body("alive"), Budget::new(SHORT));
        let failure = fails_in_time(check(&endpoint, &probe, &budget)).await;
        assert_eq!(failure, CheckFailure::Stalled(step, SHORT));
        assert_eq!(failure.code(), "L7TOUT");
        assert_eq!(left_behind(remote), Vec::<String>::new());
    }
}

#[tokio::test]
async fn floods_are_bounded() {
    let flood = serve(|mut stream| async move {
        head(&mut stream).await;
        let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while said.is_ok() {
            said = stream.write_all(&[b'x'; 65_536]).await;
        }
    })
    .await;
    let failure = failure(flood, &with_body("alive")).await;
    assert_eq!(failure.to_string(), "status 200 OK, but the body lacks alive");
    let headers = serve(|mut stream| async move {
        let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while said.is_ok() {
            said = stream.write_all(&b"x-more: and more\r\n".repeat(1000)).await;
        }
    })
    .await;
    let failure = self::failure(headers, &HttpProbe::default()).await;
    assert!(matches!(&failure, CheckFailure::BadAnswer(_)), "{failure:?}");
}

/// Answers requests over HTTP/2 with their own method, URI and header `x-check`.
async fn mirror(stream: impl tls::Stream + 'static) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let check = request.headers().get("x-check").map(|value| value.as_bytes().to_vec());
        let text = format!("{} {} {check:?}", request.method(), request.uri());
        let answer = hyper::Response::new(());
        let mut body = respond.send_response(answer, false).expect("sent");
        body.send_data(Bytes::from(text), true).expect("sent");
    }
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let remote = serve(mirror).await;
    let probe = HttpProbe {
        version: HttpVersion::Http2,
        path: "/a?b".parse().expect("path"),
        host: "www.example.com:81".parse().ok(),
        ..with_body("^GET http://www.example.com:81/a\\?b None$")
    };
    check(&endpoint(remote), &probe, &enough()).await.expect("passes");
    let failure = failure(remote, &HttpProbe { body: "nope".parse().ok(), ..probe.clone() }).await;
    assert_eq!(failure.to_string(), "status 200 OK, but the body lacks nope");
    let old = says("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let failure = self::failure(old, &probe).await;
    assert!(!failure.is_local() && failure.code() == "L7RSP", "{failure:?}");
    assert_eq!(left_behind(remote), Vec::<String>::new());
}

#[tokio::test]
async fn https_agrees_on_the_version_in_the_handshake() {
    let (authority, folder) = (Authority::new(), TempDir::new().expect("folder"));
    let file = folder.path().join("ca.pem");
    authority.save(&file);
    let server = |speaks: &[&[u8]]| {
        let acceptor = authority.server(&["www.example.com"], 2999, speaks);
        serve(move |stream| {
            let accepting = acceptor.accept(stream);
            async move {
                let Ok(mut session) = accepting.await else { return };
                if session.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return mirror(session).await;
                }
                let _ = session.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold";
                let _ = session.write_all(answer).await;
                let _ = session.read(&mut [0; 16]).await;
            }
        })
    };
    let (both, one, none) =
        (server(&[b"h2", b"http/1.1"]).await, server(&[b"http/1.1"]).await, server(&[]).await);
    let probe = |version, body: &str| HttpProbe {
        version,
        host: "www.example.com".parse().ok(),
        tls: Some(TlsOptions { ca_file: Some(file.clone()), ..TlsOptions::default() }),
        ..with_body(body)
    };
    let new = probe(HttpVersion::Http2, "^GET https://www.example.com/ ");
    let old = probe(HttpVersion::Http1, "^old$");
    for (remote, probe) in [(both, &new), (both, &old), (one, &old), (none, &old)] {
        check(&endpoint(remote), probe, &enough()).await.expect("passes");
    }
    for remote in [one, none] {
        let failure = failure(remote, &new).await;
        assert!(matches!(failure, CheckFailure::Tls(_)), "{failure:?}");
    }
}

#[test]
fn hosts_have_a_port_that_is_not_the_usual_one() {
    let named = TlsOptions { server_name: Some("a.example".to_owned()), ..TlsOptions::default() };
    let address = TlsOptions { server_name: Some("2001:db8::1".to_owned()), ..named.clone() };
    for (remote, tls, expected) in [
        ("10.0.0.1:80", None, "10.0.0.1"),
        ("[fd00::1]:80", None, "[fd00::1]"),
        ("[fd00::1]:443", None, "[fd00::1]:443"),
        ("10.0.0.1:443", Some(TlsOptions::default()), "10.0.0.1"),
        ("10.0.0.1:443", Some(named.clone()), "a.example"),
        ("10.0.0.1:8443", Some(named), "a.example:8443"),
        ("10.0.0.1:443", Some(address.clone()), "[2001:db8::1]"),
        ("10.0.0.1:8443", Some(address), "[2001:db8::1]:8443"),
    ] {
        let probe = HttpProbe { tls, ..HttpProbe::default() };
        assert_eq!(usual_host(&probe, remote.parse().expect("address")), expected);
    }
}
