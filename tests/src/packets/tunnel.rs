//! What a tunnelled frame must look like, written by etherparse from the RFCs: independent of the
//! balancer's own encapsulation.

use std::net::IpAddr;

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, UdpHeader};
use lb_common::Link;

use super::shape::{ETHERNET, split};

/// The outer header of a frame.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Hardware addresses.
    pub link: Link,
    /// The load balancer; its family is the outer header's.
    pub source: IpAddr,
    /// The backend.
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv6's flow label.
    pub flow_label: u32,
    /// What stands between outer header and packet.
    pub carrier: Carrier,
}

/// How an outer packet carries another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// IP in IP.
    Ip,
    /// GUE over UDP.
    Gue(Gue),
}

/// The headers of GUE, draft-ietf-intarea-gue-09.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gue {
    /// UDP's ports.
    pub ports: [u16; 2],
    /// Whether UDP's checksum is written; else it is zero.
    pub is_summed: bool,
    /// What stands before the packet.
    pub variant: Variant,
}

/// A variant of GUE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Variant 0: the base header, then these words of 4 bytes.
    Header(Vec<[u8; 4]>),
    /// Variant 1: the packet alone.
    Direct,
}

impl Tunnel {
    /// The frame with the outer header before its IP packet, of which `trailer` bytes at the end
    /// are no part (RFC 2003 section 3.1, RFC 2473 section 3).
    #[must_use]
    pub fn around(&self, frame: &[u8], trailer: usize) -> Vec<u8> {
        let (packet, trailer) = frame[ETHERNET..].split_at(frame.len() - ETHERNET - trailer);
        let protocol = match packet[0] >> 4 {
            4 => IpNumber::IPV4,
            6 => IpNumber::IPV6,
            other => panic!("version {other} cannot be tunnelled"),
        };
        let mut bytes = relinked(frame, &self.link);
        bytes.truncate(ETHERNET);
        let (payload, protocol) = match &self.carrier {
            Carrier::Ip => (packet.to_vec(), protocol),
            Carrier::Gue(gue) => (self.datagram(gue, protocol, packet), IpNumber::UDP),
        };
        let (ether_type, header) = self.header(payload.len() as u16, protocol);
        bytes[12..].copy_from_slice(&ether_type.0.to_be_bytes());
        [bytes, header, payload, trailer.to_vec()].concat()
    }

    /// Bytes that this tunnel adds to a frame.
    #[must_use]
    pub fn overhead(&self) -> usize {
        let ip = if self.source.is_ipv6() { 40 } else { 20 };
        ip + match &self.carrier {
            Carrier::Ip => 0,
            Carrier::Gue(Gue { variant: Variant::Direct, .. }) => 8,
            Carrier::Gue(Gue { variant: Variant::Header(words), .. }) => 12 + 4 * words.len(),
        }
    }

    fn header(&self, length: u16, protocol: IpNumber) -> (EtherType, Vec<u8>) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut outer =
                    Ipv4Header::new(length, 64, protocol, source.octets(), destination.octets())
                        .expect("short enough");
                (outer.dscp, outer.ecn) = split(self.traffic_class);
                outer.header_checksum = outer.calc_header_checksum();
                (EtherType::IPV4, outer.to_bytes().to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let outer = Ipv6Header {
                    traffic_class: self.traffic_class,
                    flow_label: self.flow_label.try_into().expect("20 bits"),
                    payload_length: length,
                    next_header: protocol,
                    hop_limit: 64,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                (EtherType::IPV6, outer.to_bytes().to_vec())
            }
            (source, destination) => panic!("a tunnel from {source} to {destination}"),
        }
    }

    fn datagram(&self, gue: &Gue, protocol: IpNumber, packet: &[u8]) -> Vec<u8> {
        let header = match &gue.variant {
            Variant::Header(words) => {
                let base = [words.len() as u8, protocol.0, 0, 0];
                [&base, words.as_flattened()].concat()
            }
            Variant::Direct => Vec::new(),
        };
        let payload = [&header, packet].concat();
        let [from, to] = gue.ports;
        let udp = match (self.source, self.destination) {
            _ if !gue.is_summed => UdpHeader::without_ipv4_checksum(from, to, payload.len()),
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let ip =
                    Ipv4Header::new(0, 0, IpNumber::UDP, source.octets(), destination.octets())
                        .expect("short enough");
                UdpHeader::with_ipv4_checksum(from, to, &ip, &payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (source, destination) = (source.octets(), destination.octets());
                let ip = Ipv6Header { source, destination, ..Ipv6Header::default() };
                UdpHeader::with_ipv6_checksum(from, to, &ip, &payload)
            }
            (source, destination) => panic!("a tunnel from {source} to {destination}"),
        };
        [&udp.expect("short enough").to_bytes()[..], &payload].concat()
    }
}

/// The frame with other hardware addresses.
#[must_use]
pub fn relinked(frame: &[u8], link: &Link) -> Vec<u8> {
    let ether_type = EtherType(u16::from_be_bytes([frame[12], frame[13]]));
    let header = Ethernet2Header { source: link.source, destination: link.destination, ether_type };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&frame[ETHERNET..]);
    bytes
}
