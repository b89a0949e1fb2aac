//! What a tunnelled frame must look like, written by etherparse from the RFCs: independent of the
//! balancer's own encapsulation.

use std::net::IpAddr;

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header};
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
}

impl Tunnel {
    /// The frame with the outer header before its IP packet, of which `trailer` bytes at the end
    /// are no part (RFC 2003 section 3.1, RFC 2473 section 3).
    #[must_use]
    pub fn around(&self, frame: &[u8], trailer: usize) -> Vec<u8> {
        let packet = &frame[ETHERNET..];
        let length = (packet.len() - trailer) as u16;
        let protocol = match packet[0] >> 4 {
            4 => IpNumber::IPV4,
            6 => IpNumber::IPV6,
            other => panic!("version {other} cannot be tunnelled"),
        };
        let mut bytes = relinked(frame, &self.link);
        bytes.truncate(ETHERNET);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut outer =
                    Ipv4Header::new(length, 64, protocol, source.octets(), destination.octets())
                        .expect("short enough");
                (outer.dscp, outer.ecn) = split(self.traffic_class);
                outer.header_checksum = outer.calc_header_checksum();
                bytes[12..].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
                bytes.extend_from_slice(&outer.to_bytes());
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
                bytes[12..].copy_from_slice(&EtherType::IPV6.0.to_be_bytes());
                bytes.extend_from_slice(&outer.to_bytes());
            }
            (source, destination) => panic!("a tunnel from {source} to {destination}"),
        }
        bytes.extend_from_slice(packet);
        bytes
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
