//! The lives of backends: what is known of one ends with it.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Control, Mode, has_registry};
use crate::{health::Health, model::BackendName};

impl Control {
    /// Forgets what is known of backends that are gone or not checked, and numbers new lives. One
    /// that leaves maintenance begins a new life: nobody has checked it meanwhile.
    pub(super) fn forget_strangers(&mut self) {
        let (mut there, mut asked, mut checked, mut out) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for view in self.views() {
            let service = &self.services[&view.name.service];
            let is_checked = service.check_of(&view.name.address).is_some();
            if view.intent.mode == Mode::Maint {
                out.insert(view.name.clone());
            } else if is_checked || service.agent_check.is_some() {
                asked.insert(view.name.clone());
            }
            if is_checked {
                checked.insert(view.name.clone());
            }
            there.insert(view.name);
        }
        self.health.retain(|backend, health| {
            if out.contains(backend) {
                *health = Health::default();
            }
            checked.contains(backend)
        });
        self.forget(&there, &checked, &out);
        self.generations.retain(|backend, _| asked.contains(backend));
        for backend in asked {
            let next = &mut self.next_generation;
            self.generations.entry(backend).or_insert_with(|| {
                *next += 1;
                *next
            });
        }
        self.registered.retain(|service, _| has_registry(&self.services, service));
    }

    fn forget(
        &mut self,
        there: &BTreeSet<BackendName>,
        checked: &BTreeSet<BackendName>,
        out: &BTreeSet<BackendName>,
    ) {
        let is_checked = |name: &BackendName| checked.contains(name) && !out.contains(name);
        self.advice.retain(|name, _| is_checked(name));
        self.uplink.retain(is_checked);
        let services = &self.services;
        let has_agent = |name: &BackendName| services[&name.service].agent_check.is_some();
        self.agents.retain(|name, _| there.contains(name) && has_agent(name));
        self.returns.retain(|name| there.contains(name));
        for (service, outliers) in &mut self.outliers {
            outliers.retain(|address: &IpAddr| {
                let name = BackendName { service: service.clone(), address: *address };
                there.contains(&name)
            });
        }
    }
}
