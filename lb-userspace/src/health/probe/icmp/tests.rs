use std::{fs, process::Command, thread};

use nix::sched::{CloneFlags, unshare};
use tokio::time::{Instant, timeout};

use super::{packet::Token, *};

const LIMIT: Duration = Duration::from_millis(400);

/// Whether raw sockets can be opened; says so if not.
fn is_able() -> bool {
    let able = EchoSocket::open(Family::V4, None).is_ok();
    if !able {
        println!("skipped: needs CAP_NET_RAW");
    }
    able
}

fn endpoint(host: &str) -> Endpoint {
    let remote = SocketAddr::new(host.parse().expect("address"), 0);
    Endpoint { remote, source: None, steer: None }
}

async fn ping(host: &str, pinger: &Pinger) -> Result<Duration, CheckFailure> {
    check(&endpoint(host), pinger, &Budget::new(LIMIT)).await
}

/// Runs something in a network of its own, with nothing but a loopback interface.
fn in_network_of_its_own(act: impl AsyncFnOnce() + Send + 'static) {
    let outcome = thread::spawn(|| {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skipped: no network namespace: {}", errno.desc());
            return;
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
        assert!(up.success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("runtime").block_on(act());
    });
    outcome.join().expect("passes");
}

#[tokio::test]
async fn the_own_machine_answers() {
    if is_able() {
        let pinger = Pinger::default();
        for host in ["127.0.0.1", "::1"] {
            assert!(ping(host, &pinger).await.expect(host) < LIMIT);
        }
    }
}

#[tokio::test]
async fn thousands_share_two_sockets() {
    if !is_able() {
        return;
    }
    let pinger = Arc::new(Pinger::default());
    let mut checks = tokio::task::JoinSet::new();
    for number in 0..3000_u32 {
        let pinger = Arc::clone(&pinger);
        let host = match number % 3 {
            0 => "::1".to_owned(),
            _ => format!("127.0.{}.{}", number / 250, number % 250 + 1),
        };
        checks.spawn(async move {
            let budget = Budget::new(Duration::from_secs(20));
            check(&endpoint(&host), &pinger, &budget).await
        });
    }
    while let Some(outcome) = checks.join_next().await {
        outcome.expect("ran").expect("passes");
    }
    let shared = pinger.shared.lock().expect("not poisoned");
    assert_eq!(shared.len(), 2);
    assert!(shared.values().all(|shared| shared.echoes.is_idle()));
}

#[tokio::test]
async fn comes_from_the_source_that_is_asked_for() {
    if !is_able() {
        return;
    }
    let pinger = Pinger::default();
    let bound = |source: &str| Endpoint {
        source: Some(source.parse().expect("address")),
        ..endpoint("127.0.0.1")
    };
    check(&bound("127.0.0.9"), &pinger, &Budget::new(LIMIT)).await.expect("passes");
    // An address that this machine does not have.
    let failure = check(&bound("192.0.2.77"), &pinger, &Budget::new(LIMIT)).await;
    assert_eq!(failure, Err(CheckFailure::Local(Errno::EADDRNOTAVAIL)));
}

/// Sends an ICMP message to this machine, as if another had done so.
fn forge(message: &[u8]) {
    let socket = EchoSocket::open(Family::V4, None).expect("socket");
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    socket.send(&message, "127.0.0.1:0".parse().expect("address")).expect("sent");
}

fn reply(id: u16, sequence: u16, token: &Token) -> Vec<u8> {
    let mut message = packet::request(Family::V4, id, sequence, token);
    message[0] = 0;
    message.to_vec()
}

/// "Host unreachable" for a request to `to`.
fn unreachable(id: u16, echo: &echoes::Echo, to: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![3, 1, 0, 0, 0, 0, 0, 0];
    packet.extend([0x45, 0, 0, 44, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1]);
    packet.extend(to);
    packet.extend(packet::request(Family::V4, id, echo.sequence, &echo.token));
    packet
}

#[tokio::test]
async fn only_the_answer_to_this_request_counts() {
    if !is_able() {
        return;
    }
    let pinger = Pinger::default();
    let echoes = pinger.echoes(&endpoint("127.0.0.1")).expect("open");
    let id = echoes.socket().id();
    let mut echo = echoes.begin("127.0.0.1".parse().expect("address")).expect("free");
    let mut elsewhere = echoes.begin("127.0.0.2".parse().expect("address")).expect("free");
    let stale: Token = [7; packet::TOKEN];
    forge(&reply(id, echo.sequence, &stale));
    forge(&reply(id ^ 1, echo.sequence, &echo.token));
    forge(&reply(id, echo.sequence, &echo.token)[..8]);
    // From 127.0.0.1, for a request that went to 127.0.0.2.
    forge(&reply(id, elsewhere.sequence, &elsewhere.token));
    let early = timeout(Duration::from_millis(50), echo.heard()).await;
    assert!(early.is_err(), "{early:?}");
    let early = timeout(Duration::from_millis(1), elsewhere.heard()).await;
    assert!(early.is_err(), "{early:?}");
    forge(&reply(id, echo.sequence, &echo.token));
    let heard = timeout(LIMIT, echo.heard()).await.expect("in time");
    assert!(matches!(heard, Heard::Reply(_)), "{heard:?}");
}

#[tokio::test]
async fn errors_end_the_request_that_they_quote() {
    if !is_able() {
        return;
    }
    let pinger = Pinger::default();
    let echoes = pinger.echoes(&endpoint("127.0.0.1")).expect("open");
    let id = echoes.socket().id();
    let mut echo = echoes.begin("192.0.2.7".parse().expect("address")).expect("free");
    forge(&unreachable(id, &echo, [192, 0, 2, 8]));
    let early = timeout(Duration::from_millis(50), echo.heard()).await;
    assert!(early.is_err(), "{early:?}");
    forge(&unreachable(id, &echo, [192, 0, 2, 7]));
    let heard = timeout(LIMIT, echo.heard()).await.expect("in time");
    assert_eq!(heard, Heard::Unreachable(Errno::EHOSTUNREACH));
}

#[test]
fn silence_and_missing_routes_fail() {
    if !is_able() {
        return;
    }
    in_network_of_its_own(async || {
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").expect("sysctl");
        let pinger = Pinger::default();
        let started = Instant::now();
        assert_eq!(ping("127.0.0.1", &pinger).await, Err(CheckFailure::NoAnswer(LIMIT)));
        assert!((LIMIT..LIMIT * 10).contains(&started.elapsed()));
        let failure = ping("192.0.2.1", &pinger).await;
        assert_eq!(failure, Err(CheckFailure::Unreachable(Errno::ENETUNREACH)));
        let shared = pinger.shared.lock().expect("not poisoned");
        assert!(shared.values().all(|shared| shared.echoes.is_idle()));
    });
}

#[test]
fn ping_sockets_do_where_the_kernel_allows_them() {
    if !is_able() {
        return;
    }
    in_network_of_its_own(async || {
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").expect("sysctl");
        for (family, host) in [(Family::V4, "127.0.0.1"), (Family::V6, "::1")] {
            let socket = EchoSocket::open_ping(family, None).expect("socket");
            let pinger = Pinger::default();
            let shared = Shared::over(socket).expect("registered");
            pinger.shared.lock().expect("not poisoned").insert((family, None), shared);
            assert!(ping(host, &pinger).await.expect(host) < LIMIT);
        }
    });
}

#[tokio::test]
async fn cannot_take_the_way_of_clients() {
    #[derive(Debug)]
    struct Nowhere;

    impl crate::health::Steer for Nowhere {
        fn steer(
            &self,
            _: std::os::fd::BorrowedFd<'_>,
            _: &crate::health::CheckFlow,
        ) -> io::Result<()> {
            Ok(())
        }
    }

    let steered = Endpoint { steer: Some(Arc::new(Nowhere)), ..endpoint("127.0.0.1") };
    let failure = check(&steered, &Pinger::default(), &Budget::new(LIMIT)).await;
    assert!(failure.expect_err("no way").is_local());
}
