//! `[daemon]`

use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use lb_common::{forward::gue, nat};
use toml::Spanned;

use super::fields::{Checked, fault, number, one_of, parse};
use crate::config::{Daemon, Limits, Secret, XdpMode, raw};

pub(super) fn daemon(raw: raw::Daemon) -> Checked<Daemon> {
    let field = "daemon.interfaces";
    let mut interfaces = Vec::new();
    if raw.interfaces.get_ref().is_empty() {
        return Err(fault(&raw.interfaces, field, "name at least one interface"));
    }
    for interface in raw.interfaces.into_inner() {
        let name = interface.get_ref();
        // IFNAMSIZ is 16 with the terminating zero; the kernel refuses slashes and white space.
        let is_valid = (1..16).contains(&name.len())
            && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        if !is_valid {
            return Err(fault(&interface, field, "this cannot be the name of an interface"));
        }
        if interfaces.contains(name) {
            return Err(fault(&interface, field, "this interface is named twice"));
        }
        interfaces.push(interface.into_inner());
    }
    let default = Limits::default();
    let limits = Limits {
        services: number(raw.max_services, "daemon.max_services", 1, 65_536, default.services)?,
        backends: number(raw.max_backends, "daemon.max_backends", 1, 65_535, default.backends)?,
        slots: number(raw.max_slots, "daemon.max_slots", 8192, 1 << 28, default.slots)?,
        flows: number(raw.max_flows, "daemon.max_flows", 1024, 1 << 28, default.flows)?,
        nat_flows: number(
            raw.max_nat_flows,
            "daemon.max_nat_flows",
            1024,
            1 << 26,
            default.nat_flows,
        )?,
        sources: number(raw.max_sources, "daemon.max_sources", 1024, 1 << 28, default.sources)?,
    };
    Ok(Daemon {
        interfaces,
        xdp_mode: one_of(
            raw.xdp_mode,
            "daemon.xdp_mode",
            &[("native", XdpMode::Native), ("generic", XdpMode::Generic), ("auto", XdpMode::Auto)],
            XdpMode::Auto,
        )?,
        api_socket: raw.api_socket.unwrap_or_else(|| PathBuf::from("/run/lb/lbd.sock")),
        metrics_listen: raw
            .metrics_listen
            .map(|text| parse::<SocketAddr>(&text, "daemon.metrics_listen", "ADDRESS:PORT"))
            .transpose()?,
        state_dir: raw.state_dir.unwrap_or_else(|| PathBuf::from("/var/lib/lb")),
        pin_dir: raw.pin_dir.unwrap_or_else(|| PathBuf::from("/sys/fs/bpf/lb")),
        hash_seed: hash_seed(raw.hash_seed)?,
        gue_port: number(raw.gue_port, "daemon.gue_port", 1, 65_535, u32::from(gue::PORT))? as u16,
        tunnel_sources: tunnel_sources(raw.tunnel_sources.unwrap_or_default())?,
        nat_ports: nat_ports(raw.nat_ports)?,
        limits,
    })
}

fn nat_ports(raw: Option<Spanned<String>>) -> Checked<(u16, u16)> {
    let Some(text) = raw else {
        return Ok((nat::DEFAULT_PORTS as u16, (nat::DEFAULT_PORTS >> 16) as u16));
    };
    let parse = || {
        let (first, last) = text.get_ref().split_once('-')?;
        let port = |text: &str| text.trim().parse::<u16>().ok();
        Some((port(first)?, port(last)?))
    };
    parse().filter(|(first, last)| *first > 0 && first <= last).ok_or_else(|| {
        let message =
            format!("`{}` is not a range of ports such as \"1024-32767\"", text.get_ref());
        fault(&text, "daemon.nat_ports", message)
    })
}

/// Without a seed every node of a group would choose alike, but so would an attacker: the empty
/// default is allowed, and the daemon warns of it.
fn hash_seed(raw: Option<Spanned<String>>) -> Checked<Secret> {
    match raw {
        Some(text) if text.get_ref().len() < 8 => {
            Err(fault(&text, "daemon.hash_seed", "a secret of at least 8 characters is needed"))
        }
        Some(text) => Ok(Secret::new(text.into_inner())),
        None => Ok(Secret::new(String::new())),
    }
}

fn tunnel_sources(raw: Vec<Spanned<String>>) -> Checked<Vec<IpNet>> {
    /// The flow chooses the last bits of the address, which are not more.
    const MOST_FREE_BITS: u8 = 16;

    let field = "daemon.tunnel_sources";
    let mut sources: Vec<IpNet> = Vec::new();
    for text in raw {
        let net: IpNet = parse(&text, field, "a prefix such as 10.1.255.0/24")?;
        let network = net.network();
        // The length first: who is told to clear bits would be told next that it is too short.
        let problem = if net.max_prefix_len() - net.prefix_len() > MOST_FREE_BITS {
            format!("is too large: /{} at least", net.max_prefix_len() - MOST_FREE_BITS)
        } else if net.addr() != network {
            format!("has bits behind the prefix: write {}", net.trunc())
        } else if network.is_unspecified() || network.is_loopback() || network.is_multicast() {
            "cannot be a source".to_owned()
        } else if sources.iter().any(|other| other.network().is_ipv4() == network.is_ipv4()) {
            "is the second of its family".to_owned()
        } else {
            sources.push(net);
            continue;
        };
        return Err(fault(&text, field, format!("`{net}` {problem}")));
    }
    Ok(sources)
}
