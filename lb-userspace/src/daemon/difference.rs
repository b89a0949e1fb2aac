//! What another configuration would change, asked without changing anything.

use std::collections::{BTreeMap, BTreeSet};

use super::Daemon;
use crate::{
    api::{
        difference::{Change, Difference, ServiceDifference},
        protocol::VERSION,
    },
    config::Config,
    control::{Control, ControlError},
    datapath::desired::DesiredService,
    model::{Service, ServiceName},
};

impl Daemon {
    /// Compares what is in force with what `text`, a configuration file called `file`, would be.
    pub(super) fn difference(&self, file: &str, text: &str) -> Result<Difference, ControlError> {
        let config = Config::parse(file, text).map_err(ControlError::from)?;
        let now = self.clock();
        // Backends that are still starting count on both sides.
        let in_force = self.control.preview(self.control.config().clone(), now)?;
        let preview = self.control.preview(config, now)?;
        let (before, after) = (Side::of(&in_force, now), Side::of(&preview, now));
        let names: BTreeSet<&ServiceName> =
            before.control.services().keys().chain(after.control.services().keys()).collect();
        let services = names.into_iter().map(|name| self.compare(name, &before, &after)).collect();
        Ok(Difference { version: VERSION, services })
    }

    fn compare(
        &self,
        name: &ServiceName,
        before: &Side<'_>,
        after: &Side<'_>,
    ) -> ServiceDifference {
        let [old, new] = [before, after].map(|side| side.control.services().get(name));
        let fields = old.zip(new).map(|(old, new)| fields(old, new)).unwrap_or_default();
        let [had, has] = [before, after].map(|side| side.backends(name));
        let wanted = before.desired.get(name).zip(after.desired.get(name));
        let movement = wanted.map(|(old, new)| self.datapath.tables.preview(old, new).into());
        let is_same = wanted.is_some_and(|(old, new)| old == new) && fields.is_empty();
        ServiceDifference {
            name: name.clone(),
            change: match (old, new) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                _ if is_same => Change::Same,
                _ => Change::Changed,
            },
            fields: fields.into_iter().map(str::to_owned).collect(),
            backends_added: has.difference(&had).copied().collect(),
            backends_removed: had.difference(&has).copied().collect(),
            movement,
        }
    }
}

/// What is in force, or would be.
struct Side<'a> {
    control: &'a Control,
    desired: BTreeMap<ServiceName, DesiredService>,
}

impl<'a> Side<'a> {
    fn of(control: &'a Control, now: u64) -> Self {
        let names = control.services().keys().cloned();
        Self { control, desired: names.zip(control.desired(now)).collect() }
    }

    fn backends(&self, name: &ServiceName) -> BTreeSet<std::net::IpAddr> {
        let service = self.control.services().get(name);
        let views = service.map(|service| self.control.views_of(service)).unwrap_or_default();
        views.into_iter().map(|view| view.name.address).collect()
    }
}

/// The fields of the configuration in which two services of one name differ, but for their backends.
fn fields(old: &Service, new: &Service) -> Vec<&'static str> {
    // All of them, so that a new one cannot be forgotten.
    let Service {
        name: _,
        vip: _,
        ports: _,
        protocol: _,
        forward: _,
        health_check: _,
        check_overrides: _,
        agent_check: _,
        outlier: _,
        source: _,
        flow_grace: _,
        flow_rules: _,
        policy: _,
        scheduler: _,
        recovery: _,
        quorum: _,
        scaling: _,
        table_slots: _,
        backends: _,
    } = old;
    let differs = [
        ("vip", old.vip != new.vip),
        ("port", old.ports != new.ports),
        ("protocol", old.protocol != new.protocol),
        ("forward", old.forward != new.forward),
        ("scheduler", old.scheduler != new.scheduler),
        ("table_slots", old.table_slots != new.table_slots),
        ("health_check", old.health_check != new.health_check),
        ("source", old.source != new.source),
        ("flow_grace", old.flow_grace != new.flow_grace),
        ("on_drain, on_down, on_remove", old.flow_rules != new.flow_rules),
        ("policy", old.policy != new.policy),
        ("scaling", old.scaling != new.scaling),
        ("backend.health_check", old.check_overrides != new.check_overrides),
        ("agent_check", old.agent_check != new.agent_check),
        ("outlier", old.outlier != new.outlier),
        ("recovery", old.recovery != new.recovery),
        ("quorum", old.quorum != new.quorum),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}
