use std::net::TcpListener;

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;

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
        Self { checker: Checker::new(sender), results, listener }
    }

    fn target(&self, service: &str, generation: u64) -> Target {
        let mut target = target(service, INTERVAL);
        target.generation = generation;
        target.check.port = self.listener.local_addr().expect("address").port();
        target
    }

    async fn next(&mut self) -> CheckResult {
        let result = timeout(Duration::from_secs(5), self.results.recv()).await;
        result.expect("a result in time").expect("open channel")
    }
}

fn target(service: &str, interval: Duration) -> Target {
    Target {
        backend: format!("{service}/127.0.0.1").parse().expect("name"),
        generation: 1,
        check: HealthCheck {
            kind: CheckKind::Tcp,
            port: 1,
            interval,
            timeout: interval,
            rise: 2,
            fall: 3,
        },
    }
}

#[tokio::test]
async fn checks_soon_and_then_again_and_again() {
    let mut fixture = Fixture::new();
    let started = Instant::now();
    fixture.checker.reconcile(vec![fixture.target("web", 7)]);
    let first = fixture.next().await;
    assert!(started.elapsed() < Schedule::SOON + Duration::from_millis(50));
    assert_eq!((first.backend.to_string(), first.generation), ("web/127.0.0.1".into(), 7));
    assert!(first.outcome.is_ok());
    fixture.next().await;
    let second = Instant::now();
    for _ in 0..3 {
        fixture.next().await;
    }
    let elapsed = second.elapsed();
    assert!(elapsed > INTERVAL * 3 - Duration::from_millis(30), "{elapsed:?}");
    assert!(elapsed < INTERVAL * 3 + Duration::from_millis(100), "{elapsed:?}");
}

#[tokio::test]
async fn a_stopped_target_is_silent_and_a_changed_one_starts_anew() {
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
    fixture.checker.reconcile(vec![]);
    while fixture.results.try_recv().is_ok() {}
    assert!(timeout(INTERVAL * 2, fixture.results.recv()).await.is_err());
}

#[tokio::test]
async fn an_equal_target_keeps_its_rhythm() {
    let mut fixture = Fixture::new();
    let target = fixture.target("web", 1);
    fixture.checker.reconcile(vec![target.clone()]);
    fixture.next().await;
    // A restart at each of these would check again within 100 ms.
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < INTERVAL * 5 {
        fixture.checker.reconcile(vec![target.clone(), target.clone()]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        while fixture.results.try_recv().is_ok() {
            count += 1;
        }
    }
    assert!((4..=6).contains(&count), "{count} checks");
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
    target.check.port = address.port();
    fixture.checker.reconcile(vec![target]);
    for _ in 0..2 {
        assert_eq!(fixture.next().await.outcome, Err(CheckFailure::TimedOut(INTERVAL)));
    }
    let second = Instant::now();
    for _ in 0..5 {
        fixture.next().await;
    }
    assert!(second.elapsed() < INTERVAL * 5 + Duration::from_millis(100), "{second:?}");
}

#[test]
fn thousands_of_targets_spread_evenly() {
    let epoch = Instant::now();
    let interval = Duration::from_secs(1);
    let mut tenths = [0; 10];
    for number in 0..10_000 {
        let schedule = Schedule::new(&target(&format!("s{number}"), interval), epoch, epoch);
        let place = (schedule.second - epoch).as_millis() % 1000;
        tenths[(place / 100) as usize] += 1;
    }
    assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
}

proptest! {
    #[test]
    fn the_second_check_is_on_the_grid_within_an_interval(
        service in "[a-z]{1,8}",
        interval in 10_u64..100_000,
        passed in 0_u64..10_000_000,
    ) {
        let target = target(&service, Duration::from_millis(interval));
        let epoch = Instant::now();
        let now = epoch + Duration::from_millis(passed);
        let schedule = Schedule::new(&target, epoch, now);
        let interval = target.check.interval;
        prop_assert!(schedule.first >= now);
        prop_assert!(schedule.first <= now + Schedule::SOON.min(interval));
        prop_assert!(schedule.second > schedule.first);
        prop_assert!(schedule.second <= schedule.first + interval);
        let later = Schedule::new(&target, epoch, now + interval * 3);
        prop_assert_eq!((later.second - schedule.second).as_nanos() % interval.as_nanos(), 0);
    }
}
