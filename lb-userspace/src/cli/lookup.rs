//! `lbctl lookup --proto P --src A:P --dst V:P`

use std::{net::SocketAddr, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{Context, Format, output, unexpected};
use crate::{
    api::protocol::{Answer, Failure, FailureKind, Request},
    model::Protocol,
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Protocol.
    #[arg(long, value_enum, default_value_t = Proto::Tcp)]
    proto: Proto,
    /// The client, ADDRESS:PORT or [ADDRESS]:PORT.
    #[arg(long)]
    src: SocketAddr,
    /// The service, ADDRESS:PORT or [ADDRESS]:PORT.
    #[arg(long)]
    dst: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proto {
    Tcp,
    Udp,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (source, destination) = (canonical(arguments.src), canonical(arguments.dst));
    if source.is_ipv4() != destination.is_ipv4() {
        let message = "--src and --dst must be of the same IP version".to_owned();
        return Err(Failure { kind: FailureKind::Usage, message });
    }
    let protocol = match arguments.proto {
        Proto::Tcp => Protocol::Tcp,
        Proto::Udp => Protocol::Udp,
    };
    let request = Request::Lookup { protocol, source, destination };
    let found = match context.ask(&request)? {
        Answer::Lookup(found) => found,
        other => return Err(unexpected(&other)),
    };
    if context.format == Format::Json {
        output::json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    let fact = |name: &str, text: String| output::line(&format!("{name:<11}{text}"));
    fact("service", found.service.to_string());
    fact("backend", found.backend.to_string());
    fact("why", found.reason);
    match found.new_flows {
        Some(backend) if backend == found.backend => {}
        Some(backend) => fact("new flows", backend.to_string()),
        None if found.scheduled => fact("new flows", "as the scheduler chooses".to_owned()),
        None => fact("new flows", "no backend takes any".to_owned()),
    }
    fact("slot", format!("{} (the service has {})", found.slot, found.slots));
    Ok(ExitCode::SUCCESS)
}

/// `[::ffff:10.0.0.1]:80` is another way to write `10.0.0.1:80`; no packet carries it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_what_they_stand_for() {
        let mapped = "[::ffff:10.0.0.1]:80".parse().expect("an address");
        assert_eq!(canonical(mapped).to_string(), "10.0.0.1:80");
    }
}
