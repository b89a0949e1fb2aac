//! The check that a backend accepts a TCP connection.

use std::{
    net::{Shutdown, SocketAddr},
    time::{Duration, Instant},
};

use tokio::{net::TcpSocket, time};

use super::CheckFailure;

/// Connects and parts again; returns how long the connection took.
///
/// The side that ends a TCP connection first keeps it for 60 s in TIME_WAIT, and here this would be
/// us: 1,000 backends at two checks a second would hold 120,000 of them. So the end is said twice.
/// First comes a FIN, so that the server reads a clean end of the stream and has nothing to log;
/// then the socket is closed with a linger time of 0, which sends a RST and forgets at once. A RST
/// alone would make the server's first read fail with "connection reset by peer".
pub(super) async fn check(backend: SocketAddr, limit: Duration) -> Result<Duration, CheckFailure> {
    let started = Instant::now();
    let connecting = async {
        let socket = match backend {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_zero_linger()?;
        socket.connect(backend).await
    };
    let stream = time::timeout(limit, connecting)
        .await
        .map_err(|_| CheckFailure::TimedOut(limit))?
        .map_err(|error| CheckFailure::from_connect(&error))?;
    let latency = started.elapsed();
    // Out of the runtime first: a server on this machine can answer the FIN within microseconds, and
    // after that only TIME_WAIT is left.
    if let Ok(stream) = stream.into_std() {
        // Fails if the server has gone already, which was not the question.
        let _ = stream.shutdown(Shutdown::Write);
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener, thread};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn passes_where_somebody_listens() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).expect("bind");
            let latency = check(listener.local_addr().expect("address"), LIMIT).await;
            assert!(latency.expect("passes") < LIMIT);
        }
    }

    #[tokio::test]
    async fn is_refused_where_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        drop(listener);
        assert_eq!(check(address, LIMIT).await, Err(CheckFailure::ConnectRefused));
    }

    #[tokio::test]
    async fn times_out_where_nobody_answers() {
        // A listener with a full queue drops further SYNs, which is as silent as a dead machine.
        let socket = TcpSocket::new_v4().expect("socket");
        socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let listener = socket.listen(0).expect("listen");
        let address = listener.local_addr().expect("address");
        let _first = tokio::net::TcpStream::connect(address).await.expect("connect");
        let started = Instant::now();
        assert_eq!(check(address, LIMIT).await, Err(CheckFailure::TimedOut(LIMIT)));
        assert!(started.elapsed() >= LIMIT && started.elapsed() < LIMIT * 2);
    }

    /// What the server sees and what the kernel keeps: a clean end, and nothing.
    #[tokio::test]
    async fn parts_cleanly_and_leaves_nothing_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let server = thread::spawn(move || {
            let accepted = (0..50).map(|_| {
                let (mut stream, _) = listener.accept().expect("accept");
                assert_eq!(stream.read(&mut [0; 16]).expect("a clean end"), 0);
                // Open until the end, as its own FIN could be quicker than the checker's RST.
                stream
            });
            accepted.collect::<Vec<_>>()
        });
        for _ in 0..50 {
            check(address, LIMIT).await.expect("passes");
        }
        let _open = server.join().expect("server");
        let table = std::fs::read_to_string("/proc/net/tcp").expect("socket table");
        let remote = format!("0100007F:{:04X}", address.port());
        let left = table.lines().filter(|line| line.split_whitespace().nth(2) == Some(&remote));
        assert_eq!(left.count(), 0, "{table}");
    }
}
