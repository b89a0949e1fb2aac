use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::*;
use crate::{
    health::CheckFailure,
    model::{HealthCheck, Probe},
};

const INTERVAL: Duration = Duration::from_millis(200);

struct Fixture {
    checker: Checker,
    results: mpsc::Receiver<CheckResult>,
    listener: TcpListener,
}

impl Fixture {
    fn new() -> Self {
        let (sender, results) = mpsc::channel(64);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        Self { checker: Checker::new(sender, mpsc::channel(1).0), results, listener }
    }

    fn target(&self, service: &str, generation: u64) -> Target {
        Target {
            backend: format!("{service}/127.0.0.1").parse().expect("name"),
            generation,
            check: HealthCheck {
                interval: INTERVAL,
                fast_interval: INTERVAL,
                down_interval: INTERVAL,
                timeout: INTERVAL,
                ..HealthCheck::new(Probe::Tcp, 1)
            },
            destination: self.listener.local_addr().expect("address"),
            tunnel: None,
        }
    }

    async fn next(&mut self) -> CheckResult {
        let result = timeout(Duration::from_secs(5), self.results.recv()).await;
        result.expect("a result in time").expect("open channel")
    }
}

#[tokio::test]
async fn checks_again_and_again() {
    let mut fixture = Fixture::new();
    fixture.checker.reconcile(vec![fixture.target("web", 7)]);
    for _ in 0..3 {
        let result = fixture.next().await;
        assert_eq!((result.backend.to_string(), result.generation), ("web/127.0.0.1".into(), 7));
        assert!(result.outcome.is_ok());
    }
    assert_eq!(fixture.checker.counts().lateness.count(), 3);
}

#[tokio::test]
async fn a_changed_target_starts_anew() {
    let mut fixture = Fixture::new();
    fixture.checker.reconcile(vec![fixture.target("a", 1), fixture.target("b", 1)]);
    fixture.next().await;
    fixture.next().await;
    fixture.checker.reconcile(vec![fixture.target("b", 2)]);
    while fixture.results.try_recv().is_ok() {}
    for _ in 0..4 {
        let result = fixture.next().await;
        assert_eq!((result.backend.to_string(), result.generation), ("b/127.0.0.1".into(), 2));
    }
}

#[tokio::test]
async fn what_fails_says_why() {
    let mut fixture = Fixture::new();
    let target = fixture.target("web", 1);
    drop(std::mem::replace(&mut fixture.listener, TcpListener::bind("127.0.0.1:0").expect("bind")));
    fixture.checker.reconcile(vec![target]);
    assert_eq!(fixture.next().await.outcome, Err(CheckFailure::ConnectRefused));
}

/// The product's promise counts on it: a backend that fails right after a check that passed is
/// found by `fall` further ones, each a whole interval after the other, and not later.
#[tokio::test]
async fn checks_that_take_the_whole_interval_do_not_miss_a_turn() {
    let socket = tokio::net::TcpSocket::new_v4().expect("socket");
    socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
    let listener = socket.listen(0).expect("listen");
    let address = listener.local_addr().expect("address");
    let _full = tokio::net::TcpStream::connect(address).await.expect("connect");
    let mut fixture = Fixture::new();
    let mut target = fixture.target("web", 1);
    target.destination = address;
    fixture.checker.reconcile(vec![target]);
    for _ in 0..2 {
        assert_eq!(fixture.next().await.outcome, Err(CheckFailure::TimedOut(INTERVAL)));
    }
    let second = Instant::now();
    for _ in 0..20 {
        fixture.next().await;
    }
    // Had each missed a turn, this would take twice as long. A busy machine is late once or twice.
    assert!(second.elapsed() < INTERVAL * 30, "{:?}", second.elapsed());
}
