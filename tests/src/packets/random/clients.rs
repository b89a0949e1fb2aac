//! Random clients, and what they send.

use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use lb_common::{ServiceKey, service};

use super::{keys::random_destination, once_in, one_of};
use crate::packets::{Segment, Shape, Transport, quic};

const CLIENTS: [&str; 7] = [
    "198.51.100.7",
    "198.51.100.8",
    "203.0.113.255",
    "2001:db8::7",
    "2001:db8::8",
    "2001:db8:ffff::7",
    // Nobody's, but somebody may write it: the form in which tables of prefixes have 198.51.100.7.
    "::ffff:198.51.100.7",
];
/// Prefixes that some of them are in, and one that none is in.
pub(super) const PREFIXES: [(&str, u8); 7] = [
    ("198.51.100.0", 24),
    ("198.51.100.7", 32),
    ("0.0.0.0", 0),
    ("192.0.2.0", 24),
    ("2001:db8::", 32),
    ("2001:db8::8", 128),
    ("2001:db8:ffff::", 48),
];
/// Ports of services, and of packets to those that have every port.
pub(super) const PORTS: [u16; 6] = [0, 53, 80, 443, 0x5000, 65_535];

/// One of a few, so that flows come again.
pub(super) fn random_client(rng: &mut Rng) -> SocketAddr {
    let address: IpAddr = one_of(rng, &CLIENTS).parse().expect("client address");
    SocketAddr::new(address, one_of(rng, &[1, 1024, 40_000, 65_535]))
}

/// A packet of a client to a service.
pub(super) fn random_shape(rng: &mut Rng, client: SocketAddr, key: &ServiceKey) -> Shape {
    let vip = random_destination(rng, key);
    let segments = [Segment::Syn, Segment::Syn, Segment::SynAck, Segment::Ack, Segment::Ack];
    let transport = match key.protocol() {
        service::TCP => Transport::Tcp(one_of(rng, &segments)),
        _ => one_of(rng, &[Transport::Udp, Transport::UdpWithoutChecksum]),
    };
    let mut shape = Shape::new(&client.to_string(), &vip.to_string(), transport);
    let any = rng.u8(..);
    shape.traffic_class = one_of(rng, &[0, 0, 0xb8, 0xff, any]);
    shape.payload = vec![0x2a; one_of(rng, &[0, 1, 26, 26, 60, 61, 1240, 1420, 1432])];
    if key.protocol() == service::UDP && once_in(rng, 3) {
        shape.payload = random_quic(rng);
    }
    shape.trailer = vec![0xa2; one_of(rng, &[0, 0, 0, 1, 6, 20])];
    if client.is_ipv4() && once_in(rng, 4) {
        shape.options = vec![1; rng.usize(1..=10) * 4];
        if once_in(rng, 4) {
            // Loose and strict source route, record route.
            let kind = one_of(rng, &[131, 137, 7]);
            let at = rng.usize(..=shape.options.len() - 3);
            shape.options[at..at + 3].copy_from_slice(&[kind, 3, 4]);
        }
    }
    shape
}

/// A QUIC packet with connection identifiers of usual and of edge lengths; few differ, so that
/// connections come again from other addresses.
fn random_quic(rng: &mut Rng) -> Vec<u8> {
    let length = one_of(rng, &[0, 1, 8, 8, 16, 20, 21, 255]);
    let mut connection = vec![one_of(rng, &[0x00, 0x40, 0xc1]); length];
    if let Some(byte) = connection.get_mut(1) {
        *byte = rng.u8(..4);
    }
    match rng.u8(..3) {
        0 => quic::long(&connection, &[7; 8]),
        _ => quic::short(&connection),
    }
}
