//! How many backends services ask for.

use std::collections::BTreeMap;

use super::Daemon;
use crate::{
    api::protocol::ScalingItem,
    event::{Event, EventKind},
    metrics::ScalingReport,
    model::{Measure, Scaling, Service, ServiceName},
    scaling::{Desired, Rate, Scaler},
};

/// What is known of the loads of services that have a word on scaling.
#[derive(Default)]
pub(super) struct Loads(BTreeMap<ServiceName, Load>);

struct Load {
    scaler: Scaler,
    rate: Rate,
}

impl Loads {
    /// Forgets what is not followed any more, and begins anew where other numbers count.
    fn keep(&mut self, wanted: &BTreeMap<ServiceName, Scaling>) {
        self.0.retain(|name, load| wanted.get(name) == Some(load.scaler.settings()));
        for (name, settings) in wanted {
            self.0
                .entry(name.clone())
                .or_insert_with(|| Load { scaler: Scaler::new(*settings), rate: Rate::default() });
        }
    }
}

impl Daemon {
    /// Looks at the loads; called once a second.
    pub(super) fn look_at_loads(&mut self) {
        let services = self.control.services().values();
        let wanted = services.filter_map(|service| Some((service.name.clone(), service.scaling?)));
        self.loads.keep(&wanted.collect());
        let now = self.clock();
        let mut loads = std::mem::take(&mut self.loads);
        let mut events = Vec::new();
        for (name, load) in &mut loads.0 {
            if let Some(service) = self.control.services().get(name) {
                events.extend(self.look_at_load(service, load, now));
            }
        }
        self.loads = loads;
        events.into_iter().for_each(|event| self.tell(event));
    }

    /// Looks at one load; returns that another number is desired.
    fn look_at_load(&self, service: &Service, load: &mut Load, now: u64) -> Option<Event> {
        let counters = self.service_counters(service);
        let seen = match load.scaler.settings().measure {
            Measure::NewFlows => load.rate.read(now, counters.new_flows),
            Measure::Packets => load.rate.read(now, counters.packets),
            Measure::Bytes => load.rate.read(now, counters.bytes),
            Measure::Flows => Some(self.flows_in_progress(service)),
        }?;
        let before = load.scaler.desired().map(|desired| desired.desired);
        let views = self.control.views_of(service);
        let serving = views.iter().filter(|view| view.serving_weight() > 0).count();
        load.scaler.observe(now, seen, u32::try_from(serving).unwrap_or(u32::MAX));
        let Desired { desired, evidence, .. } = load.scaler.desired()?;
        (before != Some(*desired)).then(|| Event {
            kind: EventKind::Scaling,
            service: Some(service.name.clone()),
            backend: None,
            from: before.map(|before| before.to_string()),
            to: Some(desired.to_string()),
            reason: evidence.clone(),
        })
    }

    fn flows_in_progress(&self, service: &Service) -> f64 {
        let views = self.control.views_of(service);
        let loads = views.iter().filter_map(|view| self.load(service, view));
        loads.map(|load| f64::from(load.flows())).sum()
    }

    /// What a service asks for, for operators.
    pub(super) fn scaling_item(&self, service: &Service) -> Option<ScalingItem> {
        let load = self.loads.0.get(&service.name)?;
        let Desired { demand, predicted, desired, evidence } = load.scaler.desired()?;
        Some(ScalingItem {
            measure: load.scaler.settings().measure,
            load: load.scaler.load()?,
            demand: *demand,
            predicted: *predicted,
            desired: *desired,
            evidence: evidence.clone(),
        })
    }

    /// The same for metrics.
    pub(super) fn scaling_report(&self, service: &Service) -> Option<ScalingReport> {
        let load = self.loads.0.get(&service.name)?;
        let Desired { demand, predicted, desired, .. } = *load.scaler.desired()?;
        let views = self.control.views_of(service);
        let weight: f64 = views.iter().map(|view| f64::from(view.serving_weight())).sum();
        let capacity = load.scaler.settings().per_backend * weight / 100.0;
        let load_ratio = (capacity > 0.0).then_some(load.scaler.load()? / capacity);
        Some(ScalingReport { demand, predicted, desired, load_ratio })
    }
}
