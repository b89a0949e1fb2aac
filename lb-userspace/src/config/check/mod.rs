//! From what is written to what is meant: one file a table of the configuration.

mod daemon;
mod fields;
mod health_check;
mod service;
mod source;

use std::collections::BTreeMap;

use super::{Config, ConfigError, Limits, raw};
use crate::{model::Service, selection};
use fields::{Checked, fault};

pub(super) use service::service;

pub(super) fn config(raw: raw::Config) -> Checked<Config> {
    let daemon = daemon::daemon(raw.daemon)?;
    let mut names = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut services = Vec::with_capacity(raw.services.len());
    for raw in raw.services {
        let (name_span, vip_span) = (raw.name.clone(), raw.vip.clone());
        let service = service(raw)?;
        if names.insert(service.name.clone(), ()).is_some() {
            return Err(fault(&name_span, "service.name", "another service has this name"));
        }
        if let Some(other) = keys.insert(service.key(), service.name.clone()) {
            let message = format!("service `{other}` has this address, port and protocol already");
            return Err(fault(&vip_span, "service.vip", message));
        }
        services.push(service);
    }
    Ok(Config { daemon, services })
}

/// A limit that is too low.
struct Excess {
    noun: &'static str,
    have: usize,
    limit: u32,
}

/// Whether so many services and backends fit into the tables; the error says which limit to raise.
pub fn check_service_limits(services: &[Service], limits: &Limits) -> Result<(), String> {
    match excess(services, limits) {
        Some(Excess { noun, have, limit }) => {
            Err(format!("{have} {noun}, but daemon.max_{noun} is {limit}: raise it"))
        }
        None => Ok(()),
    }
}

/// Whether the tables hold all that the file names, with the place of the limit.
pub(super) fn limits(file: &str, config: &Config) -> Result<(), ConfigError> {
    match excess(&config.services, &config.daemon.limits) {
        Some(Excess { noun, have, limit }) => Err(ConfigError {
            file: file.to_owned(),
            // The limit need not be written in the file.
            line: 0,
            field: format!("daemon.max_{noun}"),
            message: format!("{have} {noun}, but at most {limit} fit: raise it"),
        }),
        None => Ok(()),
    }
}

/// Slots of all tables, and of the largest once more: a change is made beside what packets see.
fn slots(services: &[Service]) -> usize {
    let sizes = || services.iter().map(|service| 1 << selection::size_bits(service.backends.len()));
    sizes().sum::<usize>() + sizes().max().unwrap_or_default()
}

fn excess(services: &[Service], limits: &Limits) -> Option<Excess> {
    let backends: usize = services.iter().map(|service| service.backends.len()).sum();
    [
        ("services", services.len(), limits.services),
        ("backends", backends, limits.backends),
        ("slots", slots(services), limits.slots),
    ]
    .into_iter()
    .find(|(_, have, limit)| *have > *limit as usize)
    .map(|(noun, have, limit)| Excess { noun, have, limit })
}
