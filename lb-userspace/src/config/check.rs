//! From what is written to what is meant.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use lb_common::Forward;
use toml::Spanned;

use super::{Config, Daemon, Limits, Secret, XdpMode, error::Fault, raw};
use crate::model::{
    Backend, CheckKind, DEFAULT_WEIGHT, HealthCheck, Protocol, Service, ServiceName, SourceConfig,
    check_address,
};

type Checked<T> = Result<T, Fault>;

pub(super) fn config(raw: raw::Config) -> Checked<Config> {
    let daemon = daemon(raw.daemon)?;
    let mut names = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut services = Vec::with_capacity(raw.services.len());
    for raw in raw.services {
        let (name_span, vip_span) = (raw.name.clone(), raw.vip.clone());
        let service = service(raw)?;
        if names.insert(service.name.clone(), ()).is_some() {
            return Err(fault(
                &name_span,
                "service.name",
                "another service has this name",
            ));
        }
        if let Some(other) = keys.insert(service.key(), service.name.clone()) {
            let message = format!("service `{other}` has this address, port and protocol already");
            return Err(fault(&vip_span, "service.vip", message));
        }
        services.push(service);
    }
    Ok(Config { daemon, services })
}

fn daemon(raw: raw::Daemon) -> Checked<Daemon> {
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
            return Err(fault(
                &interface,
                field,
                "this cannot be the name of an interface",
            ));
        }
        if interfaces.contains(name) {
            return Err(fault(&interface, field, "this interface is named twice"));
        }
        interfaces.push(interface.into_inner());
    }
    let default = Limits::default();
    let limits = Limits {
        services: number(
            raw.max_services,
            "daemon.max_services",
            1,
            65_536,
            default.services,
        )?,
        backends: number(
            raw.max_backends,
            "daemon.max_backends",
            1,
            65_535,
            default.backends,
        )?,
        slots: number(
            raw.max_slots,
            "daemon.max_slots",
            4096,
            1 << 28,
            default.slots,
        )?,
        flows: number(
            raw.max_flows,
            "daemon.max_flows",
            1024,
            1 << 28,
            default.flows,
        )?,
    };
    Ok(Daemon {
        interfaces,
        xdp_mode: one_of(
            raw.xdp_mode,
            "daemon.xdp_mode",
            &[
                ("native", XdpMode::Native),
                ("generic", XdpMode::Generic),
                ("auto", XdpMode::Auto),
            ],
            XdpMode::Auto,
        )?,
        api_socket: raw
            .api_socket
            .unwrap_or_else(|| PathBuf::from("/run/lb/lbd.sock")),
        metrics_listen: raw
            .metrics_listen
            .map(|text| parse::<SocketAddr>(&text, "daemon.metrics_listen", "ADDRESS:PORT"))
            .transpose()?,
        state_dir: raw
            .state_dir
            .unwrap_or_else(|| PathBuf::from("/var/lib/lb")),
        pin_dir: raw
            .pin_dir
            .unwrap_or_else(|| PathBuf::from("/sys/fs/bpf/lb")),
        hash_seed: hash_seed(raw.hash_seed)?,
        limits,
    })
}

/// Without a seed every node of a group would choose alike, but so would an attacker: the empty
/// default is allowed, and the daemon warns of it.
fn hash_seed(raw: Option<Spanned<String>>) -> Checked<Secret> {
    match raw {
        Some(text) if text.get_ref().len() < 8 => Err(fault(
            &text,
            "daemon.hash_seed",
            "a secret of at least 8 characters is needed",
        )),
        Some(text) => Ok(Secret::new(text.into_inner())),
        None => Ok(Secret::new(String::new())),
    }
}

pub(super) fn service(raw: raw::Service) -> Checked<Service> {
    let name = raw
        .name
        .get_ref()
        .parse::<ServiceName>()
        .map_err(|error| fault(&raw.name, "service.name", error))?;
    let vip = parse::<IpAddr>(&raw.vip, "service.vip", "an IPv4 or IPv6 address")?;
    if vip.is_unspecified() || vip.is_multicast() || vip.is_loopback() {
        return Err(fault(
            &raw.vip,
            "service.vip",
            "this address cannot be a service's",
        ));
    }
    let port = port(&raw.port, "service.port", 0)?;
    let health_check = raw
        .health_check
        .map(|check| health_check(check, port))
        .transpose()?;
    let mut backends: Vec<Backend> = Vec::with_capacity(raw.backends.len());
    for raw in raw.backends {
        let span = raw.address.clone();
        let backend = backend(raw, vip)?;
        if backends
            .iter()
            .any(|other| other.address == backend.address)
        {
            return Err(fault(
                &span,
                "service.backend.address",
                "this backend is named twice",
            ));
        }
        backends.push(backend);
    }
    Ok(Service {
        name,
        vip,
        port,
        protocol: one_of(
            raw.protocol,
            "service.protocol",
            &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
            Protocol::Tcp,
        )?,
        forward: forward(&raw.forward)?,
        health_check,
        source: raw.source.map(source).transpose()?,
        flow_grace: duration(
            raw.flow_grace,
            "service.flow_grace",
            Service::DEFAULT_FLOW_GRACE,
        )?,
        backends,
    })
    .and_then(|service| scheduler(raw.scheduler).map(|()| service))
}

fn forward(raw: &Spanned<String>) -> Checked<Forward> {
    let field = "service.forward";
    match raw.get_ref().as_str() {
        "l2" => Ok(Forward::L2),
        "ipip" => Ok(Forward::Ipip),
        "gue" | "nat" => Err(fault(
            raw,
            field,
            "not available in this version: use \"l2\" or \"ipip\"",
        )),
        _ => Err(fault(raw, field, "must be \"l2\" or \"ipip\"")),
    }
}

fn scheduler(raw: Option<Spanned<String>>) -> Checked<()> {
    one_of(raw, "service.scheduler", &[("consistent-hash", ())], ())
}

fn health_check(raw: Spanned<raw::HealthCheck>, service_port: u16) -> Checked<HealthCheck> {
    let span = raw.span();
    let raw = raw.into_inner();
    let kind = one_of(
        Some(raw.kind),
        "service.health_check.type",
        &[("tcp", CheckKind::Tcp)],
        CheckKind::Tcp,
    )?;
    let port = match raw.port {
        Some(text) => port(&text, "service.health_check.port", 1)?,
        None => service_port,
    };
    let timeout_at = raw.timeout.as_ref().map_or(span.clone(), Spanned::span);
    let field = "service.health_check";
    let interval = duration(
        raw.interval,
        &format!("{field}.interval"),
        HealthCheck::DEFAULT_INTERVAL,
    )?;
    let timeout = duration(
        raw.timeout,
        &format!("{field}.timeout"),
        HealthCheck::DEFAULT_TIMEOUT.min(interval),
    )?;
    let check = HealthCheck {
        kind,
        port,
        interval,
        timeout,
        rise: number(
            raw.rise,
            &format!("{field}.rise"),
            1,
            1000,
            HealthCheck::DEFAULT_RISE,
        )?,
        fall: number(
            raw.fall,
            &format!("{field}.fall"),
            1,
            1000,
            HealthCheck::DEFAULT_FALL,
        )?,
    };
    check_health_check(&check).map_err(|(key, message)| Fault {
        span: if key == "timeout" { timeout_at } else { span },
        field: format!("{field}.{key}"),
        message: message.to_owned(),
    })?;
    Ok(check)
}

/// What must hold between the fields of a health check; the error names a field.
pub fn check_health_check(check: &HealthCheck) -> Result<(), (&'static str, &'static str)> {
    if check.port == 0 {
        return Err((
            "port",
            "the service has every port, so its check must name one",
        ));
    }
    if check.interval < Duration::from_millis(10) {
        return Err(("interval", "must be at least 10ms"));
    }
    if check.timeout.is_zero() || check.timeout > check.interval {
        return Err((
            "timeout",
            "must be more than nothing and at most the interval",
        ));
    }
    Ok(())
}

/// Whether so many services and backends fit into the tables; the error says which limit to raise.
pub fn check_service_limits(services: &[Service], limits: &Limits) -> Result<(), String> {
    let backends: usize = services.iter().map(|service| service.backends.len()).sum();
    for (noun, have, limit) in [
        ("services", services.len(), limits.services),
        ("backends", backends, limits.backends),
    ] {
        if have > limit as usize {
            return Err(format!(
                "{have} {noun}, but daemon.max_{noun} is {limit}: raise it"
            ));
        }
    }
    Ok(())
}

fn source(raw: Spanned<raw::Source>) -> Checked<SourceConfig> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let missing = |key: &str, what: &str| Fault {
        span: whole.clone(),
        field: format!("service.source.{key}"),
        message: format!("is missing: {what}"),
    };
    match raw.kind.get_ref().as_str() {
        "file" => {
            if raw.endpoints.is_some() || raw.prefix.is_some() {
                return Err(fault(
                    &raw.kind,
                    "service.source",
                    "a file has nothing but a path",
                ));
            }
            let path = raw
                .path
                .ok_or_else(|| missing("path", "where the file is"))?;
            Ok(SourceConfig::File { path })
        }
        "etcd" => {
            if raw.path.is_some() {
                return Err(fault(&raw.kind, "service.source.path", "etcd has no path"));
            }
            let endpoints = raw
                .endpoints
                .ok_or_else(|| missing("endpoints", "etcd's URLs"))?;
            if endpoints.is_empty() {
                return Err(missing("endpoints", "name at least one URL"));
            }
            for endpoint in &endpoints {
                let url = endpoint.get_ref();
                if !url.starts_with("http://") {
                    let message = "must be a URL that starts with http:// (TLS is not available)";
                    return Err(fault(endpoint, "service.source.endpoints", message));
                }
            }
            let prefix = raw
                .prefix
                .ok_or_else(|| missing("prefix", "what the keys start with"))?;
            if prefix.get_ref().is_empty() {
                let message = "must not be empty: every key of the etcd would be a backend";
                return Err(fault(&prefix, "service.source.prefix", message));
            }
            Ok(SourceConfig::Etcd {
                endpoints: endpoints.into_iter().map(Spanned::into_inner).collect(),
                prefix: prefix.into_inner(),
            })
        }
        _ => Err(fault(
            &raw.kind,
            "service.source.type",
            "must be \"file\" or \"etcd\"",
        )),
    }
}

fn backend(raw: raw::Backend, vip: IpAddr) -> Checked<Backend> {
    let field = "service.backend.address";
    let address = parse::<IpAddr>(&raw.address, field, "an IPv4 or IPv6 address")?;
    check_address(address, vip).map_err(|error| fault(&raw.address, field, error))?;
    if let Some(port) = raw.port {
        let message = "only forward = \"nat\" can change the port, which is not available yet";
        return Err(fault(&port, "service.backend.port", message));
    }
    let weight = number(
        raw.weight,
        "service.backend.weight",
        0,
        65_535,
        u32::from(DEFAULT_WEIGHT),
    )?;
    Ok(Backend {
        address,
        weight: weight as u16,
    })
}

fn fault<T>(at: &Spanned<T>, field: &str, message: impl Display) -> Fault {
    Fault {
        span: at.span(),
        field: field.to_owned(),
        message: message.to_string(),
    }
}

fn parse<T: FromStr>(text: &Spanned<String>, field: &str, expected: &str) -> Checked<T> {
    text.get_ref().parse().map_err(|_| {
        fault(
            text,
            field,
            format!("`{}` is not {expected}", text.get_ref()),
        )
    })
}

fn port(raw: &Spanned<i64>, field: &str, least: u16) -> Checked<u16> {
    u16::try_from(*raw.get_ref())
        .ok()
        .filter(|port| *port >= least)
        .ok_or_else(|| fault(raw, field, format!("must be a port from {least} to 65535")))
}

fn number(
    raw: Option<Spanned<i64>>,
    field: &str,
    least: u32,
    most: u32,
    default: u32,
) -> Checked<u32> {
    let Some(raw) = raw else { return Ok(default) };
    u32::try_from(*raw.get_ref())
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| {
            fault(
                &raw,
                field,
                format!("must be a number from {least} to {most}"),
            )
        })
}

fn duration(raw: Option<Spanned<String>>, field: &str, default: Duration) -> Checked<Duration> {
    let Some(raw) = raw else { return Ok(default) };
    humantime::parse_duration(raw.get_ref()).map_err(|_| {
        let message = format!(
            "`{}` is not a duration such as \"500ms\" or \"2s\"",
            raw.get_ref()
        );
        fault(&raw, field, message)
    })
}

fn one_of<T: Copy>(
    raw: Option<Spanned<String>>,
    field: &str,
    choices: &[(&str, T)],
    default: T,
) -> Checked<T> {
    let Some(raw) = raw else { return Ok(default) };
    let found = choices.iter().find(|(word, _)| *word == raw.get_ref());
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = choices
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        fault(
            &raw,
            field,
            format!("`{}` must be {}", raw.get_ref(), words.join(" or ")),
        )
    })
}
