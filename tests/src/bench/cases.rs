//! What is measured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use lb_common::packet::Age;

/// Family of a client's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, and IPv4 backends.
    Ipv4,
    /// IPv6, and IPv6 backends.
    Ipv6,
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What packets are to the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Packets of flows that go on, in slots without a past.
    Known,
    /// Each packet a SYN.
    Syn,
    /// Each packet a SYN of a flow that was never seen.
    New,
    /// For no service.
    Pass,
    /// Packets of flows that go on, in slots whose owner has changed.
    Tracked,
    /// Each packet a SYN of a flow that was never seen, in such slots.
    TrackedNew,
    /// Packets of flows that go on, of a service with a scheduler.
    Scheduled,
    /// Each packet a SYN of a flow that was never seen, to such a service.
    ScheduledNew,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Way to forward.
    pub path: &'static str,
    /// Family.
    pub family: Family,
    /// Protocol.
    pub proto: Proto,
    /// What the packets are.
    pub kind: Kind,
    /// Number of flows, a power of two.
    pub flows: u32,
}

const FLOWS: [u32; 4] = [1, 1 << 10, 1 << 16, 1 << 20];

/// The cases of one family.
pub(super) fn of(family: Family) -> Vec<Case> {
    let case = |path, proto, kind, flows| Case { path, family, proto, kind, flows };
    let mut cases: Vec<Case> =
        FLOWS.iter().map(|flows| case("ipip", Proto::Tcp, Kind::Known, *flows)).collect();
    cases.push(case("ipip", Proto::Udp, Kind::Known, 1 << 10));
    cases.push(case("ipip", Proto::Tcp, Kind::Syn, 1 << 10));
    cases.push(case("ipip", Proto::Tcp, Kind::New, 1 << 31));
    cases.push(case("l2", Proto::Tcp, Kind::Known, 1 << 10));
    cases.push(case("none", Proto::Tcp, Kind::Pass, 1 << 10));
    cases.push(case("none", Proto::Udp, Kind::Pass, 1 << 10));
    for flows in [1 << 10, 1 << 20] {
        cases.push(case("ipip", Proto::Tcp, Kind::Tracked, flows));
    }
    for flows in [1 << 10, 1 << 20] {
        cases.push(case("ipip", Proto::Tcp, Kind::Scheduled, flows));
    }
    for kind in [Kind::TrackedNew, Kind::ScheduledNew] {
        cases.push(case("ipip", Proto::Tcp, kind, 1 << 31));
    }
    for flows in [1, 1 << 10, 1 << 16] {
        cases.push(case("nat", Proto::Tcp, Kind::Known, flows));
    }
    cases
}

impl Family {
    /// Word in the table and in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Address of the services.
    pub(super) fn vip(self) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::new(10, 200, 0, 1).into(),
            Self::Ipv6 => Ipv6Addr::new(0xfd00, 0x200, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// Address of backend `number`.
    pub(super) fn backend(self, number: u16) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::new(10, 1, (number >> 8) as u8, number as u8).into(),
            Self::Ipv6 => Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 1, number).into(),
        }
    }
}

impl Proto {
    /// Word in the table and in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Kind {
    /// Word in the table and in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Syn => "syn",
            Self::New => "new",
            Self::Pass => "pass",
            Self::Tracked => "tracked",
            Self::TrackedNew => "tracked-new",
            Self::Scheduled => "scheduled",
            Self::ScheduledNew => "scheduled-new",
        }
    }
}

impl Case {
    /// Port of the service that the packets are for, or of none.
    pub(super) const fn port(&self) -> u16 {
        match (self.kind, self.path.as_bytes()) {
            (Kind::Pass, _) => 22,
            (Kind::Tracked | Kind::TrackedNew, _) => 82,
            (Kind::Scheduled | Kind::ScheduledNew, _) => 84,
            (_, b"l2") => 81,
            (_, b"nat") => 83,
            _ => 80,
        }
    }

    /// The packet whose client the driver replaces: 64 bytes at least, with valid lengths.
    pub(super) fn packet(&self) -> Vec<u8> {
        match self.kind {
            Kind::Syn | Kind::New | Kind::TrackedNew | Kind::ScheduledNew => {
                self.packet_of(Age::Begins)
            }
            Kind::Known | Kind::Pass | Kind::Tracked | Kind::Scheduled => {
                self.packet_of(Age::Continues)
            }
        }
    }

    /// Whether flows must have begun before their packets are measured.
    pub(super) fn needs_beginnings(&self) -> bool {
        matches!(self.kind, Kind::Tracked | Kind::Scheduled) || self.path == "nat"
    }

    /// The packet with which the case's flows begin.
    pub(super) fn first_packet(&self) -> Vec<u8> {
        self.packet_of(Age::Begins)
    }

    fn packet_of(&self, age: Age) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
        let ip = match self.family.vip() {
            IpAddr::V4(vip) => link.ipv4([10, 0, 0, 2], vip.octets(), 64),
            IpAddr::V6(vip) => {
                let client = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
                link.ipv6(client.octets(), vip.octets(), 64)
            }
        };
        let payload = [0_u8; 10];
        let mut bytes = Vec::new();
        let written = match self.proto {
            Proto::Udp => ip.udp(1024, self.port()).write(&mut bytes, &payload),
            Proto::Tcp => {
                let tcp = ip.tcp(1024, self.port(), 1, 1024);
                let tcp = if age == Age::Begins { tcp.syn() } else { tcp.ack(1) };
                tcp.write(&mut bytes, &payload)
            }
        };
        written.expect("a vector takes any bytes");
        bytes
    }
}
