//! What is asked of a backend: one file a kind.

mod dns;
mod exec;
mod expect;
mod grpc;
mod http;
mod tcp;
mod tls;
mod udp;

pub use dns::{BadDnsQuestion, DnsProbe, DnsQuestion, DnsTransport};
pub use exec::{ExecProbe, ExitCode};
pub use expect::{BadHex, BadPattern, Expect, HexPattern, Pattern, hex_bytes};
pub use grpc::GrpcProbe;
pub use http::{BadStatusSet, HttpProbe, HttpVersion, StatusSet};
pub use tcp::Exchange;
pub use tls::TlsOptions;
pub use udp::UdpProbe;

/// What is asked of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// That it accepts a TCP connection.
    Tcp,
    /// That it answers over TCP as expected.
    TcpExchange(Exchange),
    /// That it answers an HTTP request as expected.
    Http(Box<HttpProbe>),
    /// That a TLS session can be made.
    Tls(TlsOptions),
    /// That it says of itself, by gRPC, that it works.
    Grpc(GrpcProbe),
    /// That it answers a datagram, or does not refuse it.
    Udp(UdpProbe),
    /// That it answers a DNS query.
    Dns(DnsProbe),
    /// That it answers a ping.
    Icmp,
    /// What a program of this machine finds.
    Exec(ExecProbe),
}
