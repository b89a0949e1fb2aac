//! From what is written to what is meant: one file a table of the configuration.

mod agent_check;
mod daemon;
mod fields;
mod flow_rules;
mod health_check;
mod hook;
mod outlier;
mod policy;
mod quorum;
mod recovery;
mod scaling;
mod scheduler;
mod service;
mod source;
mod together;

use std::{collections::BTreeMap, ops::Range};

use lb_common::policy::Scheduler;
use toml::Spanned;

use super::{Config, ConfigError, Limits, error::Fault, raw};
use crate::{
    datapath::{arrays::RULES, schedulers},
    model::Service,
    selection,
};
use fields::{Checked, fault};

pub(super) use service::service;
pub use together::{Clash, Together};

pub(super) fn config(raw: raw::Config) -> Checked<Config> {
    let daemon = daemon::daemon(raw.daemon)?;
    let mut names = BTreeMap::new();
    let mut together = Together::default();
    let mut services = Vec::with_capacity(raw.services.len());
    for raw in raw.services {
        let (name_span, places) = (raw.name.clone(), Places::of(&raw));
        let service = service(raw)?;
        if names.insert(service.name.clone(), ()).is_some() {
            return Err(fault(&name_span, "service.name", "another service has this name"));
        }
        together.add(&service).map_err(|clash| places.fault(&clash))?;
        services.push(service);
    }
    let hooks = hook::hooks(raw.hooks, &services)?;
    Ok(Config { daemon, services, hooks })
}

/// Where the fields of a service stand that can clash with others'.
struct Places {
    vip: Range<usize>,
    port: Range<usize>,
    fragments: Option<Range<usize>>,
    ping: Option<Range<usize>>,
}

impl Places {
    fn of(raw: &raw::Service) -> Self {
        Self {
            vip: raw.vip.span(),
            port: raw.port.span(),
            fragments: raw.fragments.as_ref().map(Spanned::span),
            ping: raw.ping.as_ref().map(Spanned::span),
        }
    }

    fn fault(self, clash: &Clash) -> Fault {
        let place = match clash.field {
            "port" => Some(self.port),
            "fragments" => self.fragments,
            "ping" => self.ping,
            _ => None,
        };
        let field = format!("service.{}", clash.field);
        Fault { span: place.unwrap_or(self.vip), field, message: clash.message.clone() }
    }
}

/// A limit that is too low.
struct Excess {
    noun: &'static str,
    have: usize,
    limit: u32,
}

/// Whether so many services and backends fit into the tables; the error says which limit to raise.
pub fn check_service_limits(services: &[Service], limits: &Limits) -> Result<(), String> {
    check_rules(services)?;
    check_compared(services)?;
    match excess(services, limits) {
        Some(Excess { noun, have, limit }) => {
            Err(format!("{have} {noun}, but daemon.max_{noun} is {limit}: raise it"))
        }
        None => Ok(()),
    }
}

/// Rules for sources stand beside those that they replace.
const MOST_RULES: usize = RULES as usize / 2;

fn check_rules(services: &[Service]) -> Result<(), String> {
    let have: usize = services.iter().map(|service| service.policy.sources.len()).sum();
    if have > MOST_RULES {
        return Err(format!("{have} prefixes in all services, but at most {MOST_RULES} fit"));
    }
    Ok(())
}

/// Whether packets of a service can look at all of its backends, if its scheduler has them do so.
fn check_compared(services: &[Service]) -> Result<(), String> {
    const MOST: usize = Scheduler::MOST_COMPARED as usize;

    let is_too_long = |service: &&Service| {
        service.scheduler.in_packets().compares() && service.backends.len() > MOST
    };
    services.iter().find(is_too_long).map_or(Ok(()), |service| {
        Err(format!(
            "service `{}` has {} backends, but \"{}\" compares at most {MOST}: take \
             \"two-choices\", or several services",
            service.name,
            service.backends.len(),
            service.scheduler.name()
        ))
    })
}

/// Whether the tables hold all that the file names, with the place of the limit.
pub(super) fn limits(file: &str, config: &Config) -> Result<(), ConfigError> {
    check_rules(&config.services).map_err(|message| ConfigError {
        file: file.to_owned(),
        line: 0,
        field: "service.allow".to_owned(),
        message,
    })?;
    check_compared(&config.services).map_err(|message| ConfigError {
        file: file.to_owned(),
        line: 0,
        field: "service.scheduler".to_owned(),
        message,
    })?;
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

/// Slots of all tables with their schedulers' lists, and of the largest once more: a change is made
/// beside what packets see.
fn slots(services: &[Service]) -> usize {
    let size = |service: &Service| {
        let members = service.backends.len();
        let table = service.table_slots.unwrap_or(1 << selection::size_bits(members));
        table as usize + schedulers::most_slots(service.scheduler.in_packets(), members)
    };
    let sizes = || services.iter().map(size);
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
