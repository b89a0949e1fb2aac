//! Requests from chosen ports, one at a time, each with who answered it.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use lb_tests::{
    Host, Load,
    address::{self, Family},
    report::Interval,
    waiting,
};
use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
        sockopt,
    },
    time::TimeVal,
};

use super::PATIENCE;

/// How long one request may take: a lost SYN is sent again after 1 s, and after 2 s more.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A connection that is kept, over which a server can be asked for its name again and again.
pub(crate) struct Connection {
    pub(crate) source: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects from a port of the client.
    pub(crate) fn open(client: &Host, port: u16, target: SocketAddr) -> io::Result<Self> {
        let source = source(target, port);
        let stream = client.enter(|| connect_from(source, target))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { source, stream: BufReader::new(stream) })
    }

    /// From now on an answer may take so long.
    pub(crate) fn wait_for(&self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// The name of the server at the other end.
    pub(crate) fn who(&mut self) -> io::Result<String> {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        self.stream.get_mut().write_all(request)?;
        let (mut name, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                None if line.trim_end().is_empty() => break,
                Some((key, value)) if key.eq_ignore_ascii_case("x-backend") => {
                    value.clone_into(&mut name);
                }
                Some((key, value)) if key.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                _ => {}
            }
        }
        self.stream.read_exact(&mut vec![0; length])?;
        Ok(name)
    }
}

/// Who answers a TCP request from a port of the client.
pub(crate) fn ask_tcp(client: &Host, port: u16, target: SocketAddr) -> io::Result<String> {
    Connection::open(client, port, target)?.who()
}

/// Who echoes a datagram from a port of the client.
pub(crate) fn ask_udp(client: &Host, port: u16, target: SocketAddr) -> io::Result<String> {
    let echo = exchange(client, port, target, b"hello")?;
    let text = String::from_utf8_lossy(&echo).into_owned();
    let name = text.strip_suffix(" hello").ok_or(ErrorKind::InvalidData)?;
    Ok(name.to_owned())
}

/// Sends a datagram of this size and waits for nothing.
#[track_caller]
pub(crate) fn send(client: &Host, port: u16, target: SocketAddr, size: usize) {
    let send = || {
        let socket = bound(|| UdpSocket::bind(source(target, port)))?;
        socket.send_to(&vec![0; size], target)
    };
    client.enter(send).unwrap_or_else(|error| panic!("datagram to {target}: {error}"));
}

/// Sends a datagram and waits for its echo, which has the server's name before it.
pub(crate) fn exchange(
    client: &Host,
    port: u16,
    target: SocketAddr,
    content: &[u8],
) -> io::Result<Vec<u8>> {
    let socket = client.enter(|| bound(|| UdpSocket::bind(source(target, port))))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.connect(target)?;
    socket.send(content)?;
    let mut echo = vec![0; 65_536];
    let length = socket.recv(&mut echo)?;
    echo.truncate(length);
    Ok(echo)
}

/// How many requests each server answered, of one from each of these ports.
#[track_caller]
pub(crate) fn spread(
    ports: impl IntoIterator<Item = u16>,
    ask: impl Fn(u16) -> io::Result<String>,
) -> BTreeMap<String, u32> {
    let mut answers = BTreeMap::new();
    for port in ports {
        let name = ask(port).unwrap_or_else(|error| panic!("request from port {port}: {error}"));
        *answers.entry(name).or_default() += 1;
    }
    answers
}

/// Fails unless the answers are spread by these weights, as far as chance allows.
#[track_caller]
pub(crate) fn expect_spread(answers: &BTreeMap<String, u32>, weights: &[(&str, f64)]) {
    let all = f64::from(answers.values().sum::<u32>());
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    for (server, weight) in weights {
        let part = weight / sum;
        let (expected, found) = (all * part, f64::from(answers.get(*server).copied().unwrap_or(0)));
        // Four standard deviations of so many independent choices.
        let chance = 4.0 * (all * part * (1.0 - part)).sqrt();
        assert!(
            (found - expected).abs() <= chance,
            "{server} should have {expected:.0} of {all} requests, give or take {chance:.0}: {answers:?}"
        );
    }
    let strangers = answers.keys().any(|name| weights.iter().all(|(server, _)| server != name));
    assert!(!strangers, "only {weights:?} should answer: {answers:?}");
}

/// Waits until so many requests of a load that started after `mark` have an outcome.
#[track_caller]
pub(crate) fn watch(load: &Load, mark: u64, count: u64) {
    waiting::until(&format!("{count} requests"), PATIENCE, || {
        let all = load.since(mark).map_err(|error| error.to_string())?;
        let done = all.answered() + all.failed.len() as u64;
        (done >= count).then_some(()).ok_or_else(|| format!("{done} so far"))
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

/// What happened to all requests since `mark`, of which none may have failed.
#[track_caller]
pub(crate) fn expect_none_failed(load: &Load, mark: u64) -> Interval {
    let all = load.settle(mark).unwrap_or_else(|error| panic!("{error}"));
    let failed = all.failed.len();
    assert!(
        failed == 0 && all.answered() > 0,
        "{}: {} answered, {failed} failed, the first: {:?}",
        load.target(),
        all.answered(),
        all.failed.first(),
    );
    all
}

/// The client's end.
pub(crate) fn source(target: SocketAddr, port: u16) -> SocketAddr {
    let family = if target.is_ipv4() { Family::V4 } else { Family::V6 };
    let address: IpAddr = address::client(family);
    SocketAddr::new(address, port)
}

/// The standard library cannot choose the port.
fn connect_from(source: SocketAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Reset when it is dropped: else the port cannot connect there again for a while.
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&socket, sockopt::Linger, &at_once)?;
    // For `connect` too, see socket(7).
    let seconds = i64::try_from(ANSWER_WITHIN.as_secs()).expect("a few seconds");
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    bound(|| Ok(bind(socket.as_raw_fd(), &SockaddrStorage::from(source))?))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(target))?;
    Ok(socket.into())
}

/// Tries to bind until the port is free. A child of another test may have a copy of the socket that
/// had it before, until it executes its program.
fn bound<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let is_taken = |error: &io::Error| error.kind() == ErrorKind::AddrInUse;
    waiting::until("the port to be free", PATIENCE, || match bind() {
        Err(error) if is_taken(&error) => Err(error.to_string()),
        result => Ok(result),
    })
    .map_err(io::Error::other)?
}
