//! What is to be checked, and how often.

use std::net::SocketAddr;

use lb_common::Forward;

use super::{BackendView, Control, Mode};
use crate::{
    health::{AgentTarget, Health, Pace, Target, TunnelTo},
    model::{BackendName, CheckVia, Ports, Service},
};

impl Control {
    /// What is to be checked. Backends in maintenance are not.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let views = self.views().filter(|view| view.intent.mode != Mode::Maint);
        views.filter_map(|view| self.target(&view)).collect()
    }

    /// How a backend is to be checked, if it is.
    #[must_use]
    pub fn target_of(&self, backend: &BackendName) -> Option<Target> {
        let service = self.services.get(&backend.service)?;
        let view = self.views_of(service).into_iter().find(|view| view.name == *backend)?;
        if view.intent.mode == Mode::Maint { None } else { self.target(&view) }
    }

    fn target(&self, view: &BackendView) -> Option<Target> {
        let service = &self.services[&view.name.service];
        let address = view.name.address;
        let check = service.check_of(&address)?.clone();
        let generation = *self.generations.get(&view.name)?;
        let tunnel = is_tunnelled(service, check.via)
            .then_some(TunnelTo { backend: address, forward: service.forward });
        let destination = match tunnel {
            Some(_) => SocketAddr::new(service.vip.address(), check.port),
            None => {
                let own = service.port_of(&address);
                let is_own =
                    own != 0 && !check.is_port_named && service.ports == Ports::Exact(check.port);
                let port = if is_own { own } else { check.port };
                SocketAddr::new(check.address.unwrap_or(address), port)
            }
        };
        Some(Target { backend: view.name.clone(), generation, check, destination, tunnel })
    }

    /// Whose agents are to be asked.
    #[must_use]
    pub fn agent_targets(&self) -> Vec<AgentTarget> {
        let views = self.views().filter(|view| view.intent.mode != Mode::Maint);
        views
            .filter_map(|view| {
                let agent = self.services[&view.name.service].agent_check.clone()?;
                let generation = *self.generations.get(&view.name)?;
                let address = agent.address.unwrap_or(view.name.address);
                let destination = SocketAddr::new(address, agent.port);
                Some(AgentTarget { backend: view.name, generation, agent, destination })
            })
            .collect()
    }

    /// How often a backend is to be checked at present.
    #[must_use]
    pub fn pace(&self, backend: &BackendName) -> Pace {
        self.health.get(backend).map_or(Pace::Normal, Health::pace)
    }
}

fn is_tunnelled(service: &Service, via: CheckVia) -> bool {
    via == CheckVia::Tunnel && matches!(service.forward, Forward::Ipip | Forward::Gue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, control::Memory};

    #[test]
    fn a_port_that_is_named_is_the_one_that_is_asked() {
        for (named, expected) in [("", 8080), ("port = 80", 80), ("port = 81", 81)] {
            let text = format!(
                "[daemon]\ninterfaces = [\"eth0\"]\nhash_seed = \"a secret\"\n\
                 [[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"nat\"\n\
                 [service.health_check]\ntype = \"tcp\"\n{named}\n\
                 [[service.backend]]\naddress = \"10.0.1.11\"\nport = 8080\n"
            );
            let config = Config::parse("test.toml", &text).expect("a valid configuration");
            let control = Control::new(config, Memory::default()).expect("room");
            let ports: Vec<_> =
                control.targets().iter().map(|target| target.destination.port()).collect();
            assert_eq!(ports, [expected], "{named}");
        }
    }
}
