//! The check that a backend answers a datagram, or at least does not refuse it.

use std::{io, net::SocketAddr, time::Duration};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;

use super::{Budget, dial, tcp::unexpected};
use crate::{
    health::{CheckFailure, Endpoint, Step},
    model::{Expect, UdpProbe},
};

/// Most of a datagram that is looked at.
const MOST: usize = 4096;

/// Sends a datagram and looks at what comes back; returns how long that took.
///
/// Where nothing is expected, silence passes: it comes from a server that has nothing to say as
/// well as from a machine that is switched off, so only an ICMP error fails, or none within half of
/// the time-out passes. Any datagram from the backend passes at once.
pub(super) async fn check(
    endpoint: &Endpoint,
    probe: &UdpProbe,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let socket = open(endpoint, budget).await?;
    let sent = socket.send(&probe.send).await;
    sent.map_err(|error| CheckFailure::from_connect(&error))?;
    match &probe.expect {
        Some(expect) => await_answer(&socket, expect, budget).await,
        None => await_refusal(&socket, budget).await,
    }
}

/// A connected socket that hears of hosts and networks that cannot be reached, too. Without that
/// option it would hear of closed ports only.
pub(super) async fn open(endpoint: &Endpoint, budget: &Budget) -> Result<UdpSocket, CheckFailure> {
    let socket = dial::udp(endpoint, budget).await?;
    let option = match endpoint.remote {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true),
    };
    option.map_err(|errno| CheckFailure::from_connect(&errno.into()))?;
    Ok(socket)
}

async fn await_answer(
    socket: &UdpSocket,
    expect: &Expect,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let mut datagram = vec![0; MOST];
    let mut last = None;
    loop {
        let Ok(received) = budget.take(socket.recv(&mut datagram)).await else {
            let silence = CheckFailure::NoAnswer(budget.limit());
            return Err(last.map_or(silence, |last: Vec<u8>| unexpected(&last, expect)));
        };
        let answer = &datagram[..received.map_err(|error| failed(&error))?];
        if expect.is_met(answer) {
            return Ok(budget.spent());
        }
        last = Some(answer.to_vec());
    }
}

async fn await_refusal(socket: &UdpSocket, budget: &Budget) -> Result<Duration, CheckFailure> {
    let patience = (budget.limit() / 2).saturating_sub(budget.spent());
    let mut datagram = [0; 1];
    match tokio::time::timeout(patience, socket.recv(&mut datagram)).await {
        Ok(Err(error)) => Err(failed(&error)),
        Ok(Ok(_)) | Err(_) => Ok(budget.spent()),
    }
}

/// What came instead of an answer: errors as when connecting, but for a port that nobody listens on.
pub(super) fn failed(error: &io::Error) -> CheckFailure {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => CheckFailure::broken(Step::Answer, error),
        _ => CheckFailure::from_network(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);

    fn endpoint(remote: SocketAddr) -> Endpoint {
        Endpoint { remote, source: None, steer: None }
    }

    async fn ask(remote: SocketAddr, probe: &UdpProbe) -> Result<Duration, CheckFailure> {
        check(&endpoint(remote), probe, &Budget::new(LIMIT)).await
    }

    fn expecting(text: &str) -> UdpProbe {
        let expect = Some(Expect::Matches(text.parse().expect("valid")));
        UdpProbe { send: b"PING".to_vec(), expect }
    }

    /// Answers each datagram with some.
    async fn server(host: &str, answers: &'static [&'static [u8]]) -> SocketAddr {
        let socket = UdpSocket::bind(host).await.expect("bind");
        let address = socket.local_addr().expect("address");
        tokio::spawn(async move {
            let mut question = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                assert!(matches!(&question[..length], b"PING" | b""));
                for answer in answers {
                    socket.send_to(answer, from).await.expect("sent");
                }
            }
        });
        address
    }

    async fn nobody(host: &str) -> SocketAddr {
        UdpSocket::bind(host).await.expect("bind").local_addr().expect("address")
    }

    #[tokio::test]
    async fn one_of_the_answers_must_be_as_expected() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let address = server(host, &[b"noise", b"PONG 1"]).await;
            assert!(ask(address, &expecting("^PONG")).await.expect("passes") < LIMIT);
            let hex: Expect = Expect::Begins("504f??47".parse().expect("valid"));
            let probe = UdpProbe { send: b"PING".to_vec(), expect: Some(hex) };
            ask(address, &probe).await.expect("passes");
        }
    }

    #[tokio::test]
    async fn another_answer_is_shown() {
        let address = server("127.0.0.1:0", &[b"noise", b"busy\n"]).await;
        let failure = ask(address, &expecting("^PONG")).await.expect_err("another answer");
        assert!(matches!(failure, CheckFailure::BadAnswer(_)), "{failure:?}");
        assert_eq!(failure.to_string(), "answered \"busy\\n\", expected ^PONG");
    }

    #[tokio::test]
    async fn silence_fails_where_something_is_expected() {
        let address = server("127.0.0.1:0", &[]).await;
        let failure = ask(address, &expecting("PONG")).await.expect_err("silence");
        assert_eq!(failure, CheckFailure::NoAnswer(LIMIT));
        assert!(failure.is_silent());
    }

    #[tokio::test]
    async fn silence_passes_where_nothing_is_expected() {
        let address = server("127.0.0.1:0", &[]).await;
        let started = tokio::time::Instant::now();
        ask(address, &UdpProbe::default()).await.expect("passes");
        assert!((LIMIT / 2..LIMIT * 10).contains(&started.elapsed()), "{:?}", started.elapsed());
        let address = server("127.0.0.1:0", &[b""]).await;
        assert!(ask(address, &UdpProbe::default()).await.expect("passes") < LIMIT / 2);
    }

    #[tokio::test]
    async fn a_closed_port_fails_at_once() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            for probe in [UdpProbe::default(), expecting("PONG")] {
                let failure = ask(nobody(host).await, &probe).await.expect_err("closed");
                assert_eq!(failure.to_string(), "no answer: Connection refused");
                // It is an answer, so it says nothing about this machine's own network.
                assert!(!failure.is_silent() && !failure.is_local());
            }
        }
    }

    #[tokio::test]
    async fn comes_from_the_source_that_is_asked_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let remote = socket.local_addr().expect("address");
        let source = Some("127.0.0.9".parse().expect("address"));
        let endpoint = Endpoint { remote, source, steer: None };
        check(&endpoint, &UdpProbe::default(), &Budget::new(LIMIT)).await.expect("passes");
        let (_, from) = socket.recv_from(&mut [0; 8]).await.expect("received");
        assert_eq!(Some(from.ip()), source);
    }
}
