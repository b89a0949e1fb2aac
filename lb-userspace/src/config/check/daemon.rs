//! `[daemon]`

use std::{net::SocketAddr, path::PathBuf};

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
        limits,
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
