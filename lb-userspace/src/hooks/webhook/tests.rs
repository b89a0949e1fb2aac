use std::sync::Mutex;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;
use crate::hooks::testing::told;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(1);

/// Answers each connection with the next of these lines, and says nothing when it has none left.
async fn server(answers: &'static [&'static str]) -> (Uri, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let url = format!("http://127.0.0.1:{port}/scale?group=a").parse().expect("a URL");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut text = Vec::new();
            // The document ends the request.
            while !text.ends_with(b"}") {
                let read = stream.read_buf(&mut text).await.expect("a request");
                assert_ne!(read, 0, "the request ends early");
            }
            heard.lock().expect("whole").push(String::from_utf8(text).expect("text"));
            match answers.get(number) {
                Some(answer) => {
                    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 9\r\n\r\nI am busy");
                    stream.write_all(answer.as_bytes()).await.expect("it listens");
                }
                None => silent.push(stream),
            }
        }
    });
    (url, requests)
}

async fn call_quickly(url: &Uri, retries: u32, within: Duration) -> Outcome {
    let told = told(3, "10.0.1.13", "down");
    persist(SHORT, retries, || attempt(url, &told, within)).await
}

#[tokio::test]
async fn the_event_is_posted_as_json() {
    let (url, requests) = server(&["204 No Content"]).await;
    let told = told(3, "10.0.1.13", "down");
    assert_eq!(call(&url, 0, &told, PATIENCE).await, Outcome::Done);
    let requests = requests.lock().expect("whole").clone();
    let (head, body) = requests[0].split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("POST /scale?group=a HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    let authority = url.authority().expect("it has one");
    assert!(head.contains(&format!("host: {authority}\r\n")), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert_eq!(serde_json::from_str::<Told>(body).expect("the event"), *told);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (url, requests) = server(&["500 Broken", "503 Busy", "200 OK"]).await;
    assert_eq!(call_quickly(&url, 5, PATIENCE).await, Outcome::Done);
    assert_eq!(requests.lock().expect("whole").len(), 3);
}

#[tokio::test]
async fn attempts_have_an_end() {
    let (url, requests) = server(&["500 Broken", "429 Slowly", "502 Broken"]).await;
    let outcome = call_quickly(&url, 2, PATIENCE).await;
    assert_eq!(outcome, Outcome::Failed("it answered 502 Bad Gateway: I am busy".to_owned()));
    assert_eq!(requests.lock().expect("whole").len(), 3);
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    for (answers, why) in [
        (&["404 Not Found"], "it answered 404 Not Found: I am busy"),
        (&["301 Moved"], "it answered 301 Moved Permanently: I am busy"),
    ] {
        let (url, requests) = server(answers).await;
        assert_eq!(call_quickly(&url, 5, PATIENCE).await, Outcome::Failed(why.to_owned()));
        assert_eq!(requests.lock().expect("whole").len(), 1);
    }
}

#[tokio::test]
async fn who_says_nothing_is_given_up() {
    let (url, requests) = server(&[]).await;
    assert_eq!(call_quickly(&url, 1, Duration::from_millis(300)).await, Outcome::Timeout);
    assert_eq!(requests.lock().expect("whole").len(), 2);
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let url: Uri = format!("http://127.0.0.1:{port}").parse().expect("a URL");
    let outcome = call_quickly(&url, 1, PATIENCE).await;
    let Outcome::Failed(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("connecting: Connection refused"), "{why}");
}

/// A server for `localhost` that answers each request with 200, and who trusts it.
async fn encrypted_server() -> (Uri, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("they belong together");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(server));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut text = Vec::new();
            while !text.ends_with(b"}") {
                stream.read_buf(&mut text).await.expect("a request");
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("it listens");
        }
    });
    (format!("https://localhost:{port}/").parse().expect("a URL"), Arc::new(client))
}

#[tokio::test]
async fn who_is_trusted_is_told_in_secret() {
    let (url, trusted) = encrypted_server().await;
    let told = told(3, "10.0.1.13", "down");
    let address = ("127.0.0.1", url.port_u16().expect("it has one"));
    let stream = TcpStream::connect(address).await.expect("it listens");
    let stream = encrypt(stream, &url, trusted).await.expect("it is trusted");
    post(stream, &url, &told).await.expect("it answers");
}

#[tokio::test]
async fn who_is_not_trusted_is_told_nothing() {
    let (url, _) = encrypted_server().await;
    let outcome = call_quickly(&url, 0, PATIENCE).await;
    let Outcome::Failed(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("connecting: ") && why.contains("certificate"), "{why}");
}
