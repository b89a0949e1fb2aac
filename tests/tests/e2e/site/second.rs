//! Another balancer beside the first.

use std::{fs, net::IpAddr};

use lb_tests::{Daemon, Host, Lbctl, address::Family, program};

use super::{
    CONFIG, Site,
    config::Config,
    metrics::Metrics,
    said::{self, Said},
};

/// A second machine with an lbd of its own. Nothing is routed to it until somebody does.
pub(crate) struct Second {
    #[expect(dead_code, reason = "it runs until it is dropped, before its machine is")]
    lbd: Daemon,
    host: Host,
}

impl Second {
    /// Starts it, and waits until all its backends are up.
    pub(crate) fn start(site: &Site, config: &Config) -> Self {
        let host = site.topology.add_balancer().unwrap();
        fs::write(host.path(CONFIG), config.to_string()).unwrap();
        let mut command = host.command(program("lbd").unwrap());
        command.args(["--config", CONFIG]);
        let second = Self { lbd: Daemon::start("the second lbd", command).unwrap(), host };
        second.until_all_are_up(site);
        second
    }

    /// Waits until it serves and all its backends are up.
    #[track_caller]
    pub(crate) fn until_all_are_up(&self, site: &Site) {
        site.until("the second lbd to serve", || {
            let said = self.lbctl(&["status"]);
            let lbctl = Lbctl::new(&self.host).map_err(|error| error.to_string())?;
            let rows = lbctl.backends().map_err(|error| error.to_string())?;
            let is_ready = said.code < 2 && rows.iter().all(|row| row.state == "up");
            is_ready.then_some(()).ok_or_else(|| format!("{said:?}, {rows:?}"))
        });
    }

    /// Runs lbctl there, which must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let said = self.lbctl(arguments);
        assert_eq!(said.code, 0, "lbctl {arguments:?}: {said:?}");
        said.stdout
    }

    fn lbctl(&self, arguments: &[&str]) -> Said {
        said::by(Lbctl::new(&self.host).unwrap().command(arguments))
    }

    /// What its metrics' port says.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::scrape(&self.host)
    }
}

/// Sends what is for services to one of both.
pub(crate) fn route_services_to(site: &Site, balancer: fn(Family) -> IpAddr) {
    site.topology.route_services_to(balancer).unwrap();
}
