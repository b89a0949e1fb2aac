//! A client's packet, as its parts.

mod extension;
mod fragment;
pub mod icmp;
pub mod quic;
mod tags;

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpHeaders, IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, PacketBuilder, TcpHeader,
};

pub use self::{
    extension::{Extension, extended},
    fragment::{fragments, is_fragment},
    tags::{Tag, ip_offset, tagged},
};

/// Hardware addresses of frames as they come in.
pub const CLIENT_LINK: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The load balancer's.
pub const BALANCER_LINK: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Where the IP header starts.
pub const ETHERNET: usize = 14;

/// Flags of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// SYN alone: a flow begins.
    Syn,
    /// SYN and ACK, as servers answer.
    SynAck,
    /// ACK alone.
    Ack,
    /// FIN and ACK.
    Fin,
    /// RST alone.
    Reset,
}

/// Transport protocol, and what is special about the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Segment),
    /// UDP.
    Udp,
    /// UDP with zero in the place of its checksum, which is "none" over IPv4 (RFC 768).
    UdpWithoutChecksum,
}

/// A packet from a client to a service; both addresses are of one family.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Source.
    pub client: SocketAddr,
    /// Destination.
    pub vip: SocketAddr,
    /// Transport protocol.
    pub transport: Transport,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv4 options, a multiple of 4 bytes up to 40.
    pub options: Vec<u8>,
    /// Bytes behind the transport header.
    pub payload: Vec<u8>,
    /// Bytes behind the packet, as Ethernet pads short frames.
    pub trailer: Vec<u8>,
}

impl Shape {
    /// A TCP segment. Addresses are written as `10.0.0.1:80` and `[fd00::1]:80`.
    #[must_use]
    pub fn tcp(client: &str, vip: &str, segment: Segment) -> Self {
        Self::new(client, vip, Transport::Tcp(segment))
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(client: &str, vip: &str) -> Self {
        Self::new(client, vip, Transport::Udp)
    }

    /// A packet with a little payload and nothing special.
    ///
    /// # Panics
    /// If the addresses cannot be read.
    #[must_use]
    pub fn new(client: &str, vip: &str, transport: Transport) -> Self {
        Self {
            client: client.parse().expect("client address"),
            vip: vip.parse().expect("service address"),
            transport,
            traffic_class: 0,
            options: Vec::new(),
            payload: (0..26).collect(),
            trailer: Vec::new(),
        }
    }

    /// The packet with which the service answers: addresses and ports change places.
    #[must_use]
    pub fn answer(&self) -> Self {
        let transport = match self.transport {
            Transport::Tcp(Segment::Syn) => Transport::Tcp(Segment::SynAck),
            other => other,
        };
        Self { client: self.vip, vip: self.client, transport, ..self.clone() }
    }

    /// The frame: lengths and checksums are right.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(CLIENT_LINK, BALANCER_LINK).ip(self.ip());
        let (from, to) = (self.client.port(), self.vip.port());
        let mut frame = Vec::new();
        match self.transport {
            Transport::Tcp(segment) => {
                let tcp = tcp_header(segment, from, to);
                builder.tcp_header(tcp).write(&mut frame, &self.payload)
            }
            Transport::Udp | Transport::UdpWithoutChecksum => {
                builder.udp(from, to).write(&mut frame, &self.payload)
            }
        }
        .expect("a vector takes any packet");
        if self.transport == Transport::UdpWithoutChecksum {
            let checksum = self.transport_offset() + 6;
            frame[checksum..checksum + 2].fill(0);
        }
        frame.extend_from_slice(&self.trailer);
        frame
    }

    /// Where the transport header starts in the frame.
    #[must_use]
    pub fn transport_offset(&self) -> usize {
        ETHERNET
            + match self.client {
                SocketAddr::V4(_) => Ipv4Header::MIN_LEN + self.options.len(),
                SocketAddr::V6(_) => Ipv6Header::LEN,
            }
    }

    fn ip(&self) -> IpHeaders {
        match (self.client.ip(), self.vip.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header::new(
                    0,
                    57,
                    // Replaced by the builder, as lengths and checksums are.
                    IpNumber::TCP,
                    source.octets(),
                    destination.octets(),
                )
                .expect("no payload is not too much");
                header.identification = 0x1234;
                header.options = Ipv4Options::try_from(self.options.as_slice())
                    .expect("a multiple of 4 up to 40");
                (header.dscp, header.ecn) = split(self.traffic_class);
                IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: self.traffic_class,
                    flow_label: 0x5_4321.try_into().expect("20 bits"),
                    hop_limit: 57,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, Default::default())
            }
            (client, vip) => panic!("a packet from {client} to {vip} has no family"),
        }
    }
}

/// DSCP and ECN as etherparse wants them.
pub(super) fn split(traffic_class: u8) -> (etherparse::IpDscp, etherparse::IpEcn) {
    let dscp = (traffic_class >> 2).try_into().expect("six bits");
    let ecn = (traffic_class & 3).try_into().expect("two bits");
    (dscp, ecn)
}

fn tcp_header(segment: Segment, from: u16, to: u16) -> TcpHeader {
    let mut tcp = TcpHeader::new(from, to, 0x0102_0304, 64_000);
    tcp.acknowledgment_number = 0x0506_0708;
    match segment {
        Segment::Syn => (tcp.syn, tcp.acknowledgment_number) = (true, 0),
        Segment::SynAck => (tcp.syn, tcp.ack) = (true, true),
        Segment::Ack => tcp.ack = true,
        Segment::Fin => (tcp.fin, tcp.ack) = (true, true),
        Segment::Reset => tcp.rst = true,
    }
    tcp
}
