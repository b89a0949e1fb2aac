//! A load balancer, a backend and the checks between them.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd as _,
    thread,
    time::Duration,
};

use lb_common::Forward;
use lb_userspace::{
    health::{CheckFlow, Tunnels},
    model::Protocol,
};
use tokio::time::timeout;

use super::namespace::{Cable, Namespace};

/// The backend's own addresses.
pub(crate) const BACKEND: [&str; 2] = ["10.0.0.2", "fd00::2"];
/// The service's addresses.
pub(crate) const VIP: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// Answers take microseconds; on a busy machine some milliseconds.
pub(crate) const LIMIT: Duration = Duration::from_millis(800);

/// A load balancer and a backend with the service's addresses.
pub(crate) fn world() -> Cable {
    let cable = Cable::new();
    for namespace in [&cable.near, &cable.far] {
        namespace.sysctl("ipv4/conf/all/rp_filter", "0");
        namespace.sysctl("ipv4/conf/eth0/rp_filter", "0");
    }
    cable.far.ip("address add 192.0.2.1/32 dev lo\naddress add 2001:db8::1/128 dev lo nodad\n");
    // Where the services' addresses would lead otherwise.
    cable.near.ip("route add default via 10.0.0.3\nroute add ::/0 via fd00::2\n");
    // Until the link is seen to be up, nobody is heard who asks for an IPv6 neighbour.
    for namespace in [&cable.near, &cable.far] {
        wait_for_route(namespace, "multicast ff00::/8 dev eth0");
    }
    wait_for_route(&cable.far, "local 2001:db8::1 dev lo");
    cable
}

/// The kernel does some things with IPv6 a little later.
pub(crate) fn wait_for_route(namespace: &Namespace, route: &str) {
    for _ in 0..100 {
        if namespace.show("-6 route show table local").contains(route) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no route {route}");
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Servers of TCP and UDP that send back what they get, until the test ends. UDP is answered at the
/// service's addresses, where they are there.
pub(crate) fn serve(namespace: &Namespace) {
    let (tcp, udp) = namespace.enter(|| {
        let udp = VIP.map(|vip| UdpSocket::bind((vip, 80)));
        (TcpListener::bind("[::]:80").expect("bind"), udp)
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let mut buffer = [0; 4];
                let read = stream.read_exact(&mut buffer);
                read.and_then(|()| stream.write_all(&buffer))
            });
        }
    });
    for udp in udp.into_iter().flatten() {
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(&buffer[..length], from);
            }
        });
    }
}

/// Runs `work` inside a namespace, on a runtime of its own.
pub(crate) fn block_on<T: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let bounded = async { timeout(Duration::from_secs(60), work()).await };
        runtime.expect("a runtime").block_on(bounded).expect("the test ends in a minute")
    })
}

/// Opens a connection through the tunnel, and has a few bytes come back; its port.
pub(crate) async fn check_tcp(
    tunnels: &dyn Tunnels,
    backend: &str,
    forward: Forward,
    vip: &str,
) -> io::Result<u16> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (source, steer) = tunnels.to(address(backend), forward, address(vip))?;
    let socket = match source {
        IpAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        IpAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    let local = socket.local_addr()?;
    let remote = SocketAddr::new(address(vip), 80);
    let flow = CheckFlow { protocol: Protocol::Tcp, local, remote, lasts: LIMIT };
    steer.steer(socket.as_fd(), &flow)?;
    timeout(LIMIT, async {
        let mut stream = socket.connect(remote).await?;
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"ping");
        Ok(local.port())
    })
    .await?
}

/// The same by one datagram.
pub(crate) async fn check_udp(
    tunnels: &dyn Tunnels,
    backend: &str,
    forward: Forward,
    vip: &str,
) -> io::Result<u16> {
    let (source, steer) = tunnels.to(address(backend), forward, address(vip))?;
    let socket = tokio::net::UdpSocket::bind(SocketAddr::new(source, 0)).await?;
    let local = socket.local_addr()?;
    let remote = SocketAddr::new(address(vip), 80);
    let flow = CheckFlow { protocol: Protocol::Udp, local, remote, lasts: LIMIT };
    steer.steer(socket.as_fd(), &flow)?;
    socket.connect(remote).await?;
    socket.send(b"ping").await?;
    let mut answer = [0; 4];
    timeout(LIMIT, socket.recv(&mut answer)).await??;
    assert_eq!(&answer, b"ping");
    Ok(local.port())
}

/// Links, rules and routes.
pub(crate) fn settled(namespace: &Namespace) -> String {
    let lines = ["-br link", "rule", "-6 rule", "route show table all", "-6 route show table all"];
    lines.map(|arguments| namespace.show(arguments)).concat()
}
