//! The daemon's state as documents and as metrics.

use lb_common::{Address, Counters, FlowSet, Forward, Slot, load::Load};

use super::Daemon;
use crate::{
    api::{
        policy::PolicyItem,
        protocol::{
            AffinityItem, BackendItem, DepartedItem, FlowCacheStatus, FlowRulesItem,
            InterfaceStatus, ServiceItem, SourceStatus, StandingItem, Status, VERSION,
            VerdictCount,
        },
    },
    control::{BackendView, Fate, Standing, State},
    datapath::{counters::FlowCacheCounts, desired::Flows},
    metrics::{
        BackendReport, ConfigReport, FlowCacheReport, InterfaceReport, Process, Report,
        ServiceReport, SourceReport, TableReport,
    },
    model::{Priority, Service, forward_name},
    netlink::{Fault, Via, Way},
};

impl Daemon {
    pub(super) fn status(&self) -> Status {
        let problems = self.problems();
        let (slots_used, slots_capacity) = self.datapath.tables.slot_usage();
        let views: Vec<BackendView> = self.control.views().collect();
        Status {
            version: VERSION,
            daemon_version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            health: if problems.is_empty() { "ok" } else { "degraded" }.to_owned(),
            problems,
            interfaces: self.interfaces.iter().map(interface_status).collect(),
            services: self.control.services().len(),
            backends: views.len(),
            backends_up: views.iter().filter(|view| view.serving_weight() > 0).count(),
            sources: self.source_statuses(),
            map_bytes: self.datapath.map_bytes,
            resident_bytes: Process::read().resident_bytes,
            slots_used,
            slots_capacity,
            flow_cache: self.flow_cache_status(),
            adopted: self.datapath.adopted,
            config_origin: self.config.origin.clone(),
            changed_by_operators: self.control.intents().services(),
            verdicts: self.verdicts(),
        }
    }

    fn source_statuses(&self) -> Vec<SourceStatus> {
        let status = |(service, registry): (&_, &super::Registry)| SourceStatus {
            service: Clone::clone(service),
            up: registry.error.is_none(),
            age_seconds: registry.failing_since.map_or(0, |since| since.elapsed().as_secs()),
            error: registry.error.clone(),
        };
        self.registries.iter().map(status).collect()
    }

    fn verdicts(&self) -> Vec<VerdictCount> {
        let counts = self.datapath.counters.verdicts().unwrap_or_default();
        let count = |(verdict, packets): (lb_common::Verdict, u64)| VerdictCount {
            action: verdict.action().name().to_owned(),
            reason: verdict.reason().to_owned(),
            packets,
        };
        counts.into_iter().filter(|(_, packets)| *packets > 0).map(count).collect()
    }

    pub(super) fn service_item(&self, service: &Service) -> ServiceItem {
        let (views, stands) = self.control.views_and_standing(service);
        let slots = self.datapath.tables.slots(&service.key());
        let counters = self.service_counters(service);
        ServiceItem {
            name: service.name.clone(),
            vip: service.vip,
            port: service.ports.first(),
            last_port: service.ports.last_of_range(),
            protocol: service.protocol,
            forward: forward_name(service.forward).to_owned(),
            scheduler: service.scheduler.name().to_owned(),
            affinity: affinity(service),
            policy: PolicyItem::from(&service.policy),
            backends: views.len(),
            backends_up: views.iter().filter(|view| view.serving_weight() > 0).count(),
            slots: slots.len(),
            disputed_slots: slots.iter().filter(|slot| slot.is_disputed()).count(),
            fullest_share: self.fullest_share(service, &views, &slots),
            last_movement: self.datapath.tables.last_movement(&service.key()).map(Into::into),
            packets: counters.packets,
            bytes: counters.bytes,
            new_flows: counters.new_flows,
            flow_rules: FlowRulesItem {
                on_drain: service.flow_rules.drain.to_string(),
                on_down: service.flow_rules.down.to_string(),
                on_remove: service.flow_rules.remove.to_string(),
            },
            departed: self.departed_items(service),
            standing: standing(&stands),
            scaling: self.scaling_item(service),
            members: Vec::new(),
        }
    }

    fn departed_items(&self, service: &Service) -> Vec<DepartedItem> {
        let now = self.clock();
        let item = |(address, fate): (_, Fate)| DepartedItem {
            address,
            flows: if fate.flows == Flows::Reset { "reset" } else { "kept" }.to_owned(),
            seconds_left: fate.until.map(|until| until.saturating_sub(now).div_ceil(1000)),
        };
        self.control.departed(service, now).map(item).collect()
    }

    fn fullest_share(
        &self,
        service: &Service,
        views: &[BackendView],
        slots: &[Slot],
    ) -> Option<f64> {
        if slots.is_empty() {
            return None;
        }
        let total: f64 = views.iter().map(|view| f64::from(view.serving_weight())).sum();
        let relative = |view: &BackendView| {
            let wanted = f64::from(view.serving_weight()) / total;
            (wanted > 0.0).then(|| self.slots_share(service, view, slots) / wanted)
        };
        views.iter().filter_map(relative).max_by(f64::total_cmp)
    }

    fn slots_share(&self, service: &Service, view: &BackendView, slots: &[Slot]) -> f64 {
        let address = Address::from(view.name.address);
        let id = self.datapath.tables.backend_id(&service.key(), &address);
        let held = slots.iter().filter(|slot| Some(slot.current) == id).count();
        if slots.is_empty() { 0.0 } else { held as f64 / slots.len() as f64 }
    }

    pub(super) fn backend_items(&self, service: &Service) -> Vec<BackendItem> {
        let slots = self.datapath.tables.slots(&service.key());
        let views = self.control.views_of(service);
        views.into_iter().map(|view| self.backend_item(service, view, &slots)).collect()
    }

    fn backend_item(&self, service: &Service, view: BackendView, slots: &[Slot]) -> BackendItem {
        let counters = self.backend_counters(service, &view);
        let latency = view.health.as_ref().and_then(crate::health::Health::last_latency);
        let load = self.load(service, &view);
        let agent = self.agents.of(&view.name);
        BackendItem {
            service: service.name.clone(),
            address: view.name.address,
            port: service.translated_port_of(&view.name.address),
            state: view.effective.state,
            slots_share: self.slots_share(service, &view, slots),
            since: view.since / 1000,
            weight: view.effective.weight,
            configured_weight: view.configured_weight,
            priority: view.priority,
            flows: load.map(Load::flows),
            latency_microseconds: load.map(Load::latency).filter(|latency| *latency > 0),
            mode: view.intent.mode,
            origin: view.origin,
            health: view.health.as_ref().map(|health| health.state().to_string()),
            check_milliseconds: latency.map(|latency| latency.as_secs_f64() * 1000.0),
            agent: view.agent.as_ref().map(ToString::to_string),
            agent_heard: agent.and_then(|agent| agent.heard),
            agent_failure: agent.and_then(|agent| agent.failure.clone()),
            traffic: self.control.suspicion(&view.name),
            checks: Vec::new(),
            next_hop: describe(service.forward, self.ways.get(&view.name.address)),
            packets: counters.packets,
            bytes: counters.bytes,
            new_flows: counters.new_flows,
            reason: self.explain(&view),
        }
    }

    /// Why a backend is in its state; where its next hop is not known, what is wrong with that.
    fn explain(&self, view: &BackendView) -> String {
        match self.ways.get(&view.name.address) {
            Some(Err(fault)) if view.effective.state == State::Starting => {
                format!("{}: {fault}", view.effective.reason)
            }
            _ => view.effective.reason.clone(),
        }
    }

    pub(super) fn service_counters(&self, service: &Service) -> Counters {
        let id = self.datapath.tables.service_id(&service.key());
        id.and_then(|id| self.datapath.counters.service(id).ok()).unwrap_or_default()
    }

    fn backend_counters(&self, service: &Service, view: &BackendView) -> Counters {
        let address = Address::from(view.name.address);
        let id = self.datapath.tables.backend_id(&service.key(), &address);
        id.and_then(|id| self.datapath.counters.backend(id).ok()).unwrap_or_default()
    }

    /// How busy a backend is, where its service's scheduler asks.
    pub(super) fn load(&self, service: &Service, view: &BackendView) -> Option<&Load> {
        if !service.scheduler.in_packets().counts_flows() {
            return None;
        }
        let tables = &self.datapath.tables;
        let index = tables.backend_id(&service.key(), &view.name.address.into())?;
        tables.arrays().loads.get(usize::from(index))
    }

    fn flow_cache_report(&self) -> FlowCacheReport {
        FlowCacheReport {
            entries: self.flow_cache.taken(),
            capacity: self.datapath.tables.arrays().flows.len() as u64 * u64::from(FlowSet::FLOWS),
            counts: self.datapath.counters.flow_cache().unwrap_or_default(),
        }
    }

    fn flow_cache_status(&self) -> FlowCacheStatus {
        let FlowCacheReport { entries, capacity, counts } = self.flow_cache_report();
        let FlowCacheCounts { hits, inserts, evictions, refusals } = counts;
        FlowCacheStatus { entries, capacity, hits, inserts, evictions, refusals }
    }

    /// The same as metrics.
    pub(super) fn report(&self) -> Report {
        let services = || self.control.services().values();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            process: Process::read(),
            services: services().map(|service| self.service_report(service)).collect(),
            backends: services()
                .flat_map(|service| {
                    let views = self.control.views_of(service);
                    views.into_iter().map(|view| self.backend_report(service, &view))
                })
                .collect(),
            verdicts: self.datapath.counters.verdicts().unwrap_or_default(),
            interfaces: self.interfaces.iter().map(interface_report).collect(),
            sources: self.registries.iter().map(source_report).collect(),
            checker: self.checker.counts(),
            tables: self.table_report(),
            uplink_silent: self.control.is_cut_off(),
            config: ConfigReport {
                last_reload_success: self.config.refusal.is_none(),
                last_success: self.config.last_success,
            },
            events: self.journal.counts(),
            hooks: self.hooks.counts(),
        }
    }

    fn table_report(&self) -> TableReport {
        let (used, capacity) = self.datapath.tables.slot_usage();
        TableReport {
            slots_used: u64::from(used),
            slots_capacity: u64::from(capacity),
            rebuilds: self.work.rebuilds,
            disrupted_slots: self.work.moved_slots,
            map_bytes: self.datapath.map_bytes,
            nat_flows: self.nat_flows.report(),
            flow_cache: self.flow_cache_report(),
        }
    }

    fn service_report(&self, service: &Service) -> ServiceReport {
        let (views, standing) = self.control.views_and_standing(service);
        ServiceReport {
            name: service.name.to_string(),
            protocol: match service.protocol {
                crate::model::Protocol::Tcp => "tcp",
                crate::model::Protocol::Udp => "udp",
            },
            family: if service.vip.is_ipv6() { "ipv6" } else { "ipv4" },
            counters: self.service_counters(service),
            backends: views.len() as u64,
            scaling: self.scaling_report(service),
            up: views.iter().any(|view| view.serving_weight() > 0),
            quorum: standing.has_quorum,
            panic: standing.panic,
            backup_active: is_backup(standing.serving, views.iter().map(|view| view.priority)),
        }
    }

    fn backend_report(&self, service: &Service, view: &BackendView) -> BackendReport {
        BackendReport {
            service: service.name.to_string(),
            address: view.name.address.to_string(),
            state: view.effective.state.name(),
            counters: self.backend_counters(service, view),
            weight_config: u32::from(view.configured_weight),
            weight_effective: u32::from(view.serving_weight()),
            checks: view
                .health
                .as_ref()
                .map(|_| self.checks.get(&view.name).cloned().unwrap_or_default()),
            agent: self.agent_counts(&view.name),
            watch: self.watch_report(service, &view.name),
            state_changes: view.changes,
            last_change: (view.changes > 0).then_some(view.since / 1000),
        }
    }
}

/// Whether those serve whose turn comes after others', of backends with these priorities.
fn is_backup(serving: Option<Priority>, priorities: impl Iterator<Item = Priority>) -> bool {
    let first = priorities.min();
    serving.is_some_and(|serving| first.is_some_and(|first| serving > first))
}

fn standing(standing: &Standing) -> StandingItem {
    let Standing { serving, has_quorum, panic, well: (well, meant), .. } = *standing;
    StandingItem { serving, quorum: has_quorum, panic, well, meant }
}

fn affinity(service: &Service) -> Option<AffinityItem> {
    let affinity = service.scheduler.affinity()?;
    Some(AffinityItem {
        prefix: affinity.prefix(service.vip.is_ipv6()),
        timeout_seconds: affinity.timeout.map(|timeout| timeout.as_secs()),
    })
}

fn interface_status(interface: &super::Interface) -> InterfaceStatus {
    InterfaceStatus {
        name: interface.name.clone(),
        mode: interface.mode.unwrap_or_default().to_owned(),
        attached: interface.mode.is_some(),
        jumbo: interface.mode.is_some() && interface.jumbo,
    }
}

fn interface_report(interface: &super::Interface) -> InterfaceReport {
    InterfaceReport {
        name: interface.name.clone(),
        mode: interface.mode.unwrap_or("none"),
        attached: interface.mode.is_some(),
    }
}

fn source_report(
    (service, registry): (&crate::model::ServiceName, &super::Registry),
) -> SourceReport {
    SourceReport {
        service: service.to_string(),
        up: registry.error.is_none(),
        age_seconds: registry.failing_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
        updates_ok: registry.answers,
        updates_failed: registry.failures,
    }
}

fn describe(forward: Forward, way: Option<&Result<Way, Fault>>) -> String {
    let way = match way {
        None => return "not asked for yet".to_owned(),
        Some(Err(fault)) => return fault.to_string(),
        Some(Ok(way)) => way,
    };
    if let Err(fault) = way.via.carries(forward) {
        return fault.to_string();
    }
    let bytes: Vec<String> = way.destination.iter().map(|byte| format!("{byte:02x}")).collect();
    let vlan = way.vlan.map(|id| format!(", VLAN {id}")).unwrap_or_default();
    let link = format!("{} via {}{vlan}", bytes.join(":"), way.interface_name);
    match way.via {
        Via::Direct => link,
        Via::Gateway(gateway) => format!("{link}, gateway {gateway}"),
        Via::Here => "this machine".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_those_that_others_come_before() {
        let is_backup =
            |serving, priorities: &[Priority]| is_backup(serving, priorities.iter().copied());
        assert!(!is_backup(Some(0), &[0, 1]));
        assert!(is_backup(Some(1), &[0, 1]));
        assert!(!is_backup(Some(5), &[7, 5]), "nobody comes before them");
        assert!(!is_backup(None, &[0, 1]));
    }
}
