//! What services must not say against each other.

use std::collections::BTreeMap;

use lb_common::{ServiceKey, service::SERVICE_RANGES};

use crate::model::{Fragments, Ping, Ports, Service, ServiceName, Vip};

/// Services that fit together.
#[derive(Debug, Default)]
pub struct Together {
    keys: BTreeMap<ServiceKey, ServiceName>,
    addresses: BTreeMap<ServiceKey, AtAddress>,
    pings: BTreeMap<Vip, (Ping, ServiceName)>,
}

/// What services of one address and protocol say.
#[derive(Debug, Default)]
struct AtAddress {
    ranges: Vec<(u16, u16, ServiceName)>,
    by_address: Option<ServiceName>,
}

/// Why a service does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The field that says something against another service.
    pub field: &'static str,
    /// The other service.
    pub holder: ServiceName,
    /// What is wrong, in one sentence.
    pub message: String,
}

impl Together {
    /// Adds a service, if it fits.
    pub fn add(&mut self, service: &Service) -> Result<(), Clash> {
        if let Some(holder) = self.keys.get(&service.key()) {
            let message = format!("service `{holder}` has this address, port and protocol already");
            return Err(Clash { field: "vip", holder: holder.clone(), message });
        }
        let here = self.addresses.entry(service.vip.key(0, service.protocol.number())).or_default();
        here.add_range(service)?;
        here.add_by_address(service)?;
        self.add_ping(service)?;
        self.keys.insert(service.key(), service.name.clone());
        Ok(())
    }

    fn add_ping(&mut self, service: &Service) -> Result<(), Clash> {
        let Some(ping) = service.policy.ping else { return Ok(()) };
        match self.pings.get(&service.vip) {
            Some((other, holder)) if *other != ping => {
                let (other, own) = (other.name(), ping.name());
                let message = format!(
                    "service `{holder}` of this address has \"{other}\", this one \"{own}\": \
                     leave one of them out"
                );
                Err(Clash { field: "ping", holder: holder.clone(), message })
            }
            Some((Ping::Backend, holder)) => {
                let message = format!(
                    "service `{holder}` of this address has \"backend\" already, which only one \
                     may: leave it out here"
                );
                Err(Clash { field: "ping", holder: holder.clone(), message })
            }
            _ => {
                self.pings.insert(service.vip, (ping, service.name.clone()));
                Ok(())
            }
        }
    }
}

impl AtAddress {
    fn add_range(&mut self, service: &Service) -> Result<(), Clash> {
        let Ports::Range(first, last) = service.ports else { return Ok(()) };
        let clash = |holder: &ServiceName, message| {
            Err(Clash { field: "port", holder: holder.clone(), message })
        };
        let overlapping = self.ranges.iter().find(|(from, to, _)| first <= *to && *from <= last);
        if let Some((from, to, holder)) = overlapping {
            return clash(holder, format!("overlaps {from}-{to} of service `{holder}`"));
        }
        if self.ranges.len() == SERVICE_RANGES {
            let message = format!("only {SERVICE_RANGES} ranges fit on one address and protocol");
            return clash(&service.name, message);
        }
        self.ranges.push((first, last, service.name.clone()));
        Ok(())
    }

    fn add_by_address(&mut self, service: &Service) -> Result<(), Clash> {
        if service.policy.fragments != Fragments::ByAddress {
            return Ok(());
        }
        match &self.by_address {
            Some(holder) => {
                let message = format!(
                    "service `{holder}` has \"by-address\" on this address and protocol already"
                );
                Err(Clash { field: "fragments", holder: holder.clone(), message })
            }
            None => {
                self.by_address = Some(service.name.clone());
                Ok(())
            }
        }
    }
}
