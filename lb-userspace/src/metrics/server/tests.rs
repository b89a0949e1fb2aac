use std::{net::SocketAddr, sync::Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

use super::*;
use crate::metrics::encode::tests::report;

#[derive(Default)]
struct FakeObserver {
    problems: Mutex<Vec<String>>,
}

impl Observer for FakeObserver {
    fn report(&self) -> ReportFuture<'_> {
        Box::pin(async { report() })
    }

    fn readiness(&self) -> Result<(), Vec<String>> {
        let problems = self.problems.lock().expect("lock").clone();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

struct Fixture {
    address: SocketAddr,
    observer: Arc<FakeObserver>,
    _server: JoinHandle<()>,
}

impl Fixture {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let observer = Arc::new(FakeObserver::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&observer) as Arc<dyn Observer>));
        Self { address, observer, _server: server }
    }

    async fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        let request = format!("{head}\r\nHost: lb\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answer");
        answer
    }
}

#[tokio::test]
async fn serves_both_formats() {
    let fixture = Fixture::new().await;
    let classic = fixture.ask("GET /metrics HTTP/1.1").await;
    assert!(classic.starts_with("HTTP/1.1 200 OK\r\n"), "{classic}");
    assert!(classic.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(classic.contains("\n# TYPE lb_service_packets_total counter\n"));
    assert!(!classic.contains("# EOF"));
    let accept = "GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n\
                  Accept: application/openmetrics-text;version=1.0.0";
    let open = fixture.ask(accept).await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0;"), "{open}");
    assert!(open.contains("\n# TYPE lb_service_packets counter\n") && open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn says_whether_it_is_ready_and_why_not() {
    let fixture = Fixture::new().await;
    assert!(fixture.ask("GET /readyz HTTP/1.1").await.ends_with("\r\n\r\nok\n"));
    *fixture.observer.problems.lock().expect("lock") = vec!["eth0: detached".into(), "b".into()];
    let answer = fixture.ask("GET /readyz?verbose HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\neth0: detached\nb\n"), "{answer}");
    assert!(fixture.ask("GET /livez HTTP/1.1").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn refuses_the_rest() {
    let fixture = Fixture::new().await;
    for (head, expected) in [
        ("GET / HTTP/1.1", "HTTP/1.1 404 "),
        ("GET /metrics/ HTTP/1.1", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1", "HTTP/1.1 405 "),
        ("nonsense", "HTTP/1.1 400 "),
    ] {
        let answer = fixture.ask(head).await;
        assert!(answer.starts_with(expected), "{head}: {answer}");
    }
    let head = fixture.ask("HEAD /metrics HTTP/1.1").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn idle_connections_cannot_use_it_up() {
    let fixture = Fixture::new().await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS - 1 {
        idle.push(TcpStream::connect(fixture.address).await.expect("connect"));
    }
    assert!(fixture.ask("GET /livez HTTP/1.1").await.starts_with("HTTP/1.1 200 "));
    idle.push(TcpStream::connect(fixture.address).await.expect("connect"));
    let waits = timeout(Duration::from_millis(300), fixture.ask("GET /livez HTTP/1.1")).await;
    assert!(waits.is_err(), "a connection too many was served");
    idle.pop();
    assert!(fixture.ask("GET /livez HTTP/1.1").await.starts_with("HTTP/1.1 200 "));
}
