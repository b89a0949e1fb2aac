//! Doing what a scenario says.

use std::{thread, time::Duration};

use super::{
    balancer::{Balancer, Version},
    config,
    flood::Flood,
    network::Network,
    scenario::{self, Action, Backend},
};
use crate::{
    address::{self, Family},
    error::RigError,
};

/// Does one action after the other to a network.
pub(super) struct Actor {
    pub(super) network: Network,
    floods: Vec<Flood>,
}

/// For a flood's last words.
const FLOOD_PATIENCE: Duration = Duration::from_secs(5);

impl Actor {
    pub(super) const fn new(network: Network) -> Self {
        Self { network, floods: Vec::new() }
    }

    /// Does it, and returns when it is done, though not when all is well again.
    pub(super) fn act(&mut self, action: &Action) -> Result<(), RigError> {
        match action {
            Action::Drain(backend) => self.say(*backend, &["drain"], &[]),
            Action::Ready(backend) => self.say(*backend, &["ready"], &[]),
            Action::Weight(backend, None) => self.say(*backend, &["weight"], &["--reset"]),
            Action::Weight(backend, Some(weight)) => {
                self.say(*backend, &["weight"], &[&weight.to_string()])
            }
            Action::Add(backend) => self.say(*backend, &["add"], &[]),
            Action::Remove(backend) => self.say(*backend, &["remove"], &[]),
            Action::Fail(backend) => {
                self.network
                    .server(*backend)
                    .into_iter()
                    .for_each(super::echo::Echo::refuse_checks);
                Ok(())
            }
            Action::Recover(backend) => {
                self.network
                    .server(*backend)
                    .into_iter()
                    .for_each(super::echo::Echo::accept_checks);
                Ok(())
            }
            Action::KillServer(backend) => {
                self.network.kill_server(*backend);
                Ok(())
            }
            Action::StartServer(backend) => self.network.start_server(*backend),
            Action::Reload => self.reload(),
            Action::ReloadWeight(backend, weight) => {
                self.network.revision.weights.insert(*backend, *weight);
                self.reload()
            }
            Action::KillDaemon => {
                self.network.living().into_iter().for_each(|which| self.network.kill_lbd(which));
                Ok(())
            }
            Action::StartDaemon => self.each(Network::start_lbd),
            Action::Crash => self.each(|network, which| {
                network.kill_lbd(which);
                network.start_lbd(which)
            }),
            Action::Restart => self.each(restart),
            Action::Upgrade => self.change_to(Version::Next),
            Action::Downgrade => self.change_to(Version::This),
            Action::Detach => self.each(|network, which| {
                let host = network.host(which);
                Balancer::detach(host)?;
                // Nobody would put it back.
                match network.balancer(which).lbd() {
                    Some(_) => network.balancer(which).wait_until_attached(host),
                    None => Ok(()),
                }
            }),
            Action::Blink(time) => self.blink(*time),
            Action::FlushNeighbours => self.flush_neighbours(),
            Action::KillBalancer(which) => self.network.kill_balancer(*which),
            Action::SynFlood(count) => {
                self.floods.push(Flood::start(self.network.client(), *count)?);
                Ok(())
            }
        }
    }

    /// Whether a flood still goes on.
    pub(super) fn is_flooded(&self) -> bool {
        self.floods.iter().any(Flood::is_running)
    }

    /// Waits until floods are over; what they say of themselves.
    pub(super) fn end_floods(&mut self) -> Result<Vec<String>, RigError> {
        self.floods.drain(..).map(|flood| flood.finish(FLOOD_PATIENCE)).collect()
    }

    fn each(
        &mut self,
        mut act: impl FnMut(&mut Network, scenario::Balancer) -> Result<(), RigError>,
    ) -> Result<(), RigError> {
        let living = self.network.living();
        living.into_iter().try_for_each(|which| act(&mut self.network, which))
    }

    fn change_to(&mut self, version: Version) -> Result<(), RigError> {
        self.each(|network, which| {
            network.install(which, version);
            restart(network, which)
        })
    }

    /// `lbctl backend VERB NAME ...` for all services at all balancers.
    fn say(&self, backend: Backend, verb: &[&str], rest: &[&str]) -> Result<(), RigError> {
        for which in self.network.living() {
            for (service, family) in config::services(self.network.settings.families.all()) {
                let name = format!("{service}/{}", address::backend(family, backend.0));
                let words = [&["backend"], verb, &[&name], rest].concat();
                Balancer::ask(self.network.host(which), &words)?;
            }
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), RigError> {
        self.network.revision.number += 1;
        self.each(|network, which| {
            network.write_config(which)?;
            network.balancer(which).reload(network.host(which))
        })
    }

    /// Routes go with an interface and do not come back by themselves.
    fn blink(&self, time: Duration) -> Result<(), RigError> {
        let living = self.network.living();
        let each =
            |line: &str| living.iter().try_for_each(|which| self.network.host(*which).ip(line));
        for which in &living {
            // Addresses of IPv6 would go too.
            self.network.host(*which).sysctl("ipv6/conf/eth0/keep_addr_on_down", "1")?;
        }
        each("link set eth0 down")?;
        thread::sleep(time);
        each("link set eth0 up")?;
        Family::ALL.into_iter().try_for_each(|family| {
            each(&format!("route replace default via {}", address::gateway(family)))
        })
    }

    fn flush_neighbours(&self) -> Result<(), RigError> {
        let balancers = self.network.living().into_iter().map(|which| self.network.host(which));
        balancers
            .chain([self.network.router()])
            .try_for_each(|host| host.run(&["ip", "neigh", "flush", "all"]).map(drop))
    }
}

fn restart(network: &mut Network, which: scenario::Balancer) -> Result<(), RigError> {
    network.stop_lbd(which)?;
    network.start_lbd(which)
}
