//! Why there is no path for checks through tunnels.

use std::{io, net::IpAddr};

use ipnet::IpNet;

/// Why the path for checks through tunnels could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The machine's TUN driver is out of reach.
    #[error(
        "opening /dev/net/tun: {0}; load the kernel module `tun`, and let lbd have the device (in a \
         systemd unit PrivateDevices=no and DeviceAllow=/dev/net/tun rw)"
    )]
    NoDriver(#[source] io::Error),
    /// The driver made no device.
    #[error("making the TUN device {device}: {source}; lbd needs CAP_NET_ADMIN for it")]
    Device {
        /// Its name.
        device: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Others have them all.
    #[error(
        "the devices lbcheck0 to lbcheck7 are all in use: end load balancers that are not needed in \
         this network namespace, or give this one a namespace of its own"
    )]
    AllTaken,
    /// A socket by which tunnelled packets leave.
    #[error("opening {what}: {source}; lbd needs CAP_NET_RAW for it")]
    Socket {
        /// Which.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The tunnels' source.
    #[error("sending tunnels from {prefix} (daemon.tunnel_sources): {source}")]
    Source {
        /// The prefix.
        prefix: IpNet,
        /// What the kernel says.
        source: io::Error,
    },
    /// A link, route or rule.
    #[error("{what}: {source}; lbd needs CAP_NET_ADMIN, and a kernel with policy routing")]
    Routing {
        /// What was being done.
        what: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Somebody has removed the device.
    #[error("the TUN device {device} is gone: restart lbd, which makes it again")]
    Gone {
        /// Its name.
        device: String,
    },
}

/// Why a backend cannot be checked through its tunnel now. Says nothing about the backend.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoWay {
    #[error("only services with forward = \"ipip\" or \"gue\" have tunnels")]
    NoTunnel,
    #[error(
        "{0} needs IPv6, which this machine does not have, or not for new devices (sysctl \
         net.ipv6.conf.default.disable_ipv6 when lbd starts)"
    )]
    NoIpv6(IpAddr),
    #[error("this machine has no route to the backend {backend}: {source}")]
    NoRoute { backend: IpAddr, source: io::Error },
    #[error(
        "this machine has no {} address that the backend could answer to when asked at {vip}: give \
         it one, or check the backend directly (via = \"direct\")",
        if vip.is_ipv4() { "IPv4" } else { "IPv6" }
    )]
    NoSource { vip: IpAddr },
    #[error(
        "{vip} is an address of this machine, which keeps its own packets for it: take it off, \
         move the rule `from all lookup local` behind priority 5 (see health-path.md), or check \
         directly (via = \"direct\")"
    )]
    VipIsHere { vip: IpAddr },
    #[error("packets for {vip} with mark {mark:#x} do not go to {device}: see `ip rule`")]
    Astray { vip: IpAddr, mark: u32, device: String },
    #[error("asking for the way to {vip} with mark {mark:#x}: {source}")]
    Refused { vip: IpAddr, mark: u32, source: io::Error },
    #[error("the path for checks through tunnels is out of order: {0}")]
    OutOfOrder(String),
}

impl From<NoWay> for io::Error {
    fn from(error: NoWay) -> Self {
        Self::new(io::ErrorKind::AddrNotAvailable, error)
    }
}
