//! Packets that the wrong one of two backends gets, beside real sockets.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use lb_common::DecapVerdict;
use lb_tests::{
    Host,
    packets::{
        Carrier, Decap, GUE_PORT, Gue, Outcome, Segment, Shape, Tag, Transport, Tunnel, Variant,
        fixture::VIPS, hex, relinked, tagged,
    },
    waiting,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect,
    recv, setsockopt, socket, sockopt,
};

use super::{CLIENTS, LINK, decap, tunnel};

/// The other backend of each outer family.
const OTHERS: [&str; 2] = ["10.1.0.99", "fd00:1::99"];
const FAMILIES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
const OTHER: u8 = 1;
const SPENT: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(5);

/// A machine that has the services' addresses, and the clients' too, so that connections need no
/// second one.
fn machine() -> Host {
    let host = Host::new("backend").unwrap();
    for address in [CLIENTS.map(address_of), VIPS.map(|vip| vip.parse().unwrap())].concat() {
        let flags = if address.is_ipv6() { "/128 dev lo nodad" } else { "/32 dev lo" };
        host.ip(&format!("address add {address}{flags}")).unwrap();
    }
    host
}

fn address_of(client: &str) -> IpAddr {
    client.parse::<SocketAddr>().unwrap().ip()
}

/// The client and the service of each inner family's connection.
fn ends(inner: usize) -> [SocketAddr; 2] {
    [CLIENTS[inner].parse().unwrap(), SocketAddr::new(VIPS[inner].parse().unwrap(), 80)]
}

/// A connection in the network namespace of this thread, with the server's end. The server listens
/// at this address.
fn connected(inner: usize, listen: SocketAddr) -> (OwnedFd, TcpStream) {
    let [client, server] = ends(inner);
    let listener = TcpListener::bind(listen).unwrap();
    let client = connect_from(client, server);
    (client, listener.accept().unwrap().0)
}

/// The standard library cannot choose the port.
fn connect_from(source: SocketAddr, target: SocketAddr) -> OwnedFd {
    let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrStorage::from(source)).unwrap();
    connect(socket.as_raw_fd(), &SockaddrStorage::from(target)).unwrap();
    socket
}

/// Makes a socket end its connection by a reset when it is dropped.
fn abort(socket: &impl std::os::fd::AsFd) {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(socket, sockopt::Linger, &at_once).unwrap();
}

fn packet(inner: usize, segment: Segment) -> Vec<u8> {
    Shape::new(CLIENTS[inner], &ends(inner)[1].to_string(), Transport::Tcp(segment)).frame()
}

/// The mark that names the other backend.
fn mark(kind: u8, outer: usize) -> Vec<[u8; 4]> {
    let (version, words) = match OTHERS[outer].parse().unwrap() {
        IpAddr::V4(other) => (4, vec![other.octets()]),
        IpAddr::V6(other) => (6, other.octets().as_chunks().0.to_vec()),
    };
    [vec![[b'l', b'b', kind, version]], words].concat()
}

/// The packet's tunnel with a mark, with and without a checksum of UDP's.
fn marked(packet: &[u8], outer: usize, kind: u8) -> [Tunnelled; 2] {
    [true, false].map(|is_summed| Tunnelled {
        packet: packet.to_vec(),
        tunnel: Tunnel { carrier: carrier(kind, outer, is_summed), ..tunnel(outer) },
        outer,
        is_summed,
    })
}

fn carrier(kind: u8, outer: usize, is_summed: bool) -> Carrier {
    let variant = Variant::Header(mark(kind, outer));
    Carrier::Gue(Gue { ports: [50_000, GUE_PORT], is_summed, variant })
}

struct Tunnelled {
    packet: Vec<u8>,
    tunnel: Tunnel,
    outer: usize,
    is_summed: bool,
}

impl Tunnelled {
    fn frame(&self) -> Vec<u8> {
        self.tunnel.around(&self.packet, 0)
    }

    /// The same to the other backend, with its mark spent.
    fn given_on(&self) -> Vec<u8> {
        let carrier = carrier(SPENT, self.outer, self.is_summed);
        let destination = OTHERS[self.outer].parse().unwrap();
        let tunnel = Tunnel { carrier, destination, ..self.tunnel.clone() };
        // The hardware addresses are the network stack's business.
        tunnel.around(&self.packet, 0)
    }

    #[track_caller]
    fn expect_given_on(&self, decap: &mut Decap) {
        let expected = Outcome::of(DecapVerdict::SecondChance, self.given_on());
        expect(decap, &self.frame(), &expected);
    }

    #[track_caller]
    fn expect_opened(&self, decap: &mut Decap) {
        let opened = relinked(&self.packet, &LINK);
        expect(decap, &self.frame(), &Outcome::of(DecapVerdict::Opened, opened));
    }
}

#[track_caller]
fn expect(decap: &mut Decap, frame: &[u8], expected: &Outcome<DecapVerdict>) {
    let outcome = decap.agree(frame);
    assert!(outcome == *expected, "{}\n{outcome}\n{expected}", hex(frame));
}

/// Runs `work` on such a machine with a far end that gives packets on.
fn on_machine(work: impl FnOnce(&Host, &mut Decap) + Send) {
    let host = machine();
    host.enter(|| {
        let mut decap = decap();
        decap.give_on(&[]).unwrap();
        work(&host, &mut decap);
    });
}

#[test]
fn packets_of_unknown_connections_are_given_on_and_others_are_opened() {
    on_machine(|_, decap| {
        for (inner, outer) in FAMILIES {
            for segment in [Segment::Ack, Segment::Fin, Segment::Reset] {
                for case in marked(&packet(inner, segment), outer, OTHER) {
                    case.expect_given_on(decap);
                }
                for case in marked(&packet(inner, segment), outer, SPENT) {
                    case.expect_opened(decap);
                }
            }
            let datagram = Shape::udp(CLIENTS[inner], &ends(inner)[1].to_string()).frame();
            let begins = [Segment::Syn, Segment::SynAck].map(|segment| packet(inner, segment));
            for packet in [&begins[..], &[datagram]].concat() {
                marked(&packet, outer, OTHER).iter().for_each(|case| case.expect_opened(decap));
            }
        }
    });
}

#[test]
fn packets_of_this_machines_connections_are_opened() {
    on_machine(|_, decap| {
        for inner in [0, 1] {
            let (client, server) = connected(inner, ends(inner)[1]);
            abort(&client);
            decap.give_on(&[ends(inner)]).unwrap();
            for outer in [0, 1] {
                for case in marked(&packet(inner, Segment::Ack), outer, OTHER) {
                    case.expect_opened(decap);
                }
                for case in marked(&packet(1 - inner, Segment::Ack), outer, OTHER) {
                    case.expect_given_on(decap);
                }
            }
            drop((client, server));
            decap.give_on(&[]).unwrap();
            for case in marked(&packet(inner, Segment::Ack), 0, OTHER) {
                case.expect_given_on(decap);
            }
        }
    });
}

/// A socket of IPv6 has connections of IPv4 too.
#[test]
fn connections_of_a_server_of_both_families_are_opened() {
    on_machine(|_, decap| {
        for inner in [0, 1] {
            let (client, _server) = connected(inner, "[::]:80".parse().unwrap());
            abort(&client);
            decap.give_on(&[ends(inner)]).unwrap();
            for case in marked(&packet(inner, Segment::Ack), 0, OTHER) {
                case.expect_opened(decap);
            }
        }
    });
}

#[test]
fn tags_stay_where_they_are() {
    let tags = [Tag::service(100), Tag::customer(7)];
    on_machine(|_, decap| {
        for (inner, outer) in FAMILIES {
            for case in marked(&packet(inner, Segment::Ack), outer, OTHER) {
                for count in 1..=2 {
                    let given_on = tagged(&case.given_on(), &tags[..count]);
                    let expected = Outcome::of(DecapVerdict::SecondChance, given_on);
                    expect(decap, &tagged(&case.frame(), &tags[..count]), &expected);
                }
            }
        }
    });
}

/// A socket that listens has no connection.
#[test]
fn a_listening_socket_is_none_of_a_connection() {
    on_machine(|_, decap| {
        for (inner, outer) in FAMILIES {
            let _listener = TcpListener::bind(ends(inner)[1]).unwrap();
            for case in marked(&packet(inner, Segment::Ack), outer, OTHER) {
                case.expect_given_on(decap);
            }
        }
    });
}

/// Before a server accepts it, and after it has ended, a connection is still this machine's.
#[test]
fn half_open_and_closed_connections_are_opened() {
    on_machine(|_, decap| {
        for inner in [0, 1] {
            let [client, server] = ends(inner);
            decap.give_on(&[[client, server]]).unwrap();
            let mut expect_opened = || {
                for case in marked(&packet(inner, Segment::Ack), inner, OTHER) {
                    case.expect_opened(decap);
                }
            };
            // The kernel ignores the handshake's end until data come.
            let listener = TcpListener::bind(server).unwrap();
            defer_accept(&listener);
            let stream = TcpStream::from(connect_from(client, server));
            expect_opened();
            (&stream).write_all(b"x").unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.read_exact(&mut [0]).unwrap();
            // Who closes first keeps the connection in TIME_WAIT.
            accepted.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
            drop(stream);
            assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
            drop((accepted, listener));
            expect_opened();
        }
    });
}

/// Waits until the machine has no connection to a port, of which resets may be on their way still.
fn until_gone(port: u16) {
    const LISTENS: &str = "0A";
    let end = format!(":{port:04X}");
    waiting::until("the connection to be gone", PATIENCE, || {
        let lists = ["tcp", "tcp6"].map(|list| format!("/proc/thread-self/net/{list}"));
        let lists = lists.map(|list| std::fs::read_to_string(list).unwrap()).concat();
        let found = lists.lines().find(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1).is_some_and(|local| local.ends_with(&end)) && fields[3] != LISTENS
        });
        found.map_or(Ok(()), |line| Err(line.to_owned()))
    })
    .unwrap();
}

fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 5;
    // SAFETY: the value is an integer of the length that is given, as tcp(7) says.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Under a flood of SYNs the kernel keeps nothing of a connection until its cookie comes back.
#[test]
fn a_syn_cookie_that_comes_back_is_opened() {
    on_machine(|host, decap| {
        host.sysctl("ipv4/tcp_syncookies", "2").unwrap();
        for inner in [0, 1] {
            let [client, server] = ends(inner);
            let listener = TcpListener::bind(server).unwrap();
            let eavesdropper = Eavesdropper::new(inner);
            let stream = connect_from(client, server);
            let numbers = eavesdropper.end_of_handshake(client.port());
            let accepted = listener.accept().unwrap();
            // A reset: nothing of the connection stays.
            abort(&stream);
            drop((stream, accepted));
            until_gone(server.port());
            let returning = |numbers: [u32; 2]| {
                let mut frame = packet(inner, Segment::Ack);
                let at = 14 + [20, 40][inner] + 4;
                let numbers = numbers.map(u32::to_be_bytes);
                frame[at..at + 8].copy_from_slice(numbers.as_flattened());
                frame
            };
            let [sequence, cookie] = numbers;
            decap.give_on(&[[client, server]]).unwrap();
            for case in marked(&returning(numbers), inner, OTHER) {
                case.expect_opened(decap);
            }
            decap.give_on(&[]).unwrap();
            for wrong in [[sequence, cookie ^ 0x100], [sequence ^ 0x100, cookie]] {
                for case in marked(&returning(wrong), inner, OTHER) {
                    case.expect_given_on(decap);
                }
            }
        }
    });
}

/// Sees TCP segments that the machine receives.
struct Eavesdropper {
    socket: OwnedFd,
    /// Bytes before a segment: raw sockets show IPv4 headers, and none of IPv6.
    before: usize,
}

impl Eavesdropper {
    fn new(inner: usize) -> Self {
        let family = [AddressFamily::Inet, AddressFamily::Inet6][inner];
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Raw, flags, SockProtocol::Tcp).unwrap();
        Self { socket, before: [20, 0][inner] }
    }

    /// Sequence and acknowledgement number of the first segment from this port that is only an
    /// acknowledgement.
    fn end_of_handshake(&self, port: u16) -> [u32; 2] {
        const ACK: u8 = 0x10;
        waiting::until("the handshake to end", PATIENCE, || {
            let mut bytes = [0; 128];
            let length = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty())
                .map_err(|error| error.to_string())?;
            let segment = &bytes[self.before..length];
            let word = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().unwrap());
            let is_end = segment[..2] == port.to_be_bytes() && segment[13] == ACK;
            is_end.then(|| [word(4), word(8)]).ok_or_else(|| hex(segment))
        })
        .unwrap()
    }
}

#[test]
fn nothing_is_given_on_unless_asked_for() {
    let mut decap = decap();
    for (inner, outer) in FAMILIES {
        for case in marked(&packet(inner, Segment::Ack), outer, OTHER) {
            case.expect_opened(&mut decap);
        }
    }
}
