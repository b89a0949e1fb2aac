//! What clients' connections show of backends: read each second, of services that ask.

mod totals;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use aya::maps::MapError;
use lb_common::{Address, Counters, Forward};
use tokio::{sync::mpsc, task::AbortHandle};

use super::Daemon;
use crate::{
    control::{Input, Observations},
    datapath::{
        signals::Signals,
        unreachables::{Listener, Unreachable},
    },
    event::Event,
    health::CheckResult,
    metrics::WatchReport,
    model::{BackendName, Service},
    outlier::{Observation, Tally},
};
use totals::Totals;
use traffic::{Seen, Traffic};

/// What has been seen since the last look.
pub(super) struct Watch {
    /// Counters at the last look.
    seen: BTreeMap<BackendName, Seen>,
    checks: BTreeMap<BackendName, Checks>,
    /// Backends about which ICMP errors have come, and the address within the tunnel, if it was
    /// quoted.
    errors: BTreeSet<(IpAddr, Option<IpAddr>)>,
    totals: Totals,
    listener: Option<AbortHandle>,
    reports: mpsc::Sender<Unreachable>,
}

/// Checks that ended since the last look.
#[derive(Clone, Copy, Default)]
struct Checks {
    tally: Tally,
    passed: u32,
    time: Duration,
}

/// What is counted of all backends, by their index.
struct All {
    counters: Vec<Counters>,
    signals: Vec<Signals>,
}

/// From so many backends on, all are read at once: a call of the kernel for each costs more.
const MANY: usize = 64;

impl Watch {
    pub(super) fn new(reports: mpsc::Sender<Unreachable>) -> Self {
        Self {
            seen: BTreeMap::new(),
            checks: BTreeMap::new(),
            errors: BTreeSet::new(),
            totals: Totals::default(),
            listener: None,
            reports,
        }
    }

    /// Forgets everything: nobody asks.
    fn rest(&mut self) {
        self.seen.clear();
        self.checks.clear();
        self.errors.clear();
        self.totals = Totals::default();
    }

    fn note_error(&mut self, error: &Unreachable) {
        // Forged ones must not fill memory.
        if self.errors.len() < usize::from(u16::MAX) {
            self.errors.insert((error.backend, error.inner));
        }
    }

    /// Whether an error has come about a packet of a service to a backend. One that does not quote
    /// enough to tell the service may be of any.
    fn has_error(&self, service: &Service, backend: &IpAddr) -> bool {
        let of_backend = (*backend, None)..=(*backend, Some(LAST));
        let mut inner = self.errors.range(of_backend).map(|(_, inner)| inner);
        inner.any(|inner| inner.is_none_or(|address| service.vip.holds(address)))
    }

    /// Listens for errors about tunnels. Without the right to do so there is less to see.
    fn listen(&mut self, gue_port: u16) {
        let is_listening = self.listener.as_ref().is_some_and(|task| !task.is_finished());
        if is_listening {
            return;
        }
        match Listener::open(gue_port) {
            Ok(listener) => {
                let reports = self.reports.clone();
                self.listener = Some(tokio::spawn(listener.run(reports)).abort_handle());
            }
            Err(error) => tracing::debug!(%error, "ICMP errors about tunnels are not heard"),
        }
    }
}

/// No address is greater.
const LAST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
    }
}

impl Daemon {
    /// Takes in the end of a check, for detectors.
    pub(super) fn note_check(&mut self, result: &CheckResult) {
        let service = self.control.services().get(&result.backend.service);
        if !service.is_some_and(Service::watches_traffic) {
            return;
        }
        let checks = self.watch.checks.entry(result.backend.clone()).or_default();
        match &result.outcome {
            Ok(latency) => {
                checks.tally.attempts += 1;
                checks.passed += 1;
                checks.time += *latency;
            }
            Err(failure) if failure.is_local() => {}
            Err(_) => {
                checks.tally.attempts += 1;
                checks.tally.failures += 1;
            }
        }
    }

    /// Takes in an ICMP error about a packet in a tunnel.
    pub(super) fn take_unreachable(&mut self, error: Unreachable) {
        tracing::debug!(?error, "a tunnel leads nowhere");
        self.watch.note_error(&error);
    }

    /// Looks at what has happened within a second.
    pub(super) fn look_at_traffic(&mut self) {
        let services = self.control.services().values();
        let watched: Vec<(&Service, Vec<BackendName>)> = services
            .filter(|service| service.watches_traffic())
            .map(|service| (service, self.control.backend_names(service)))
            .collect();
        if watched.is_empty() {
            self.watch.rest();
            return;
        }
        let has_tunnels = watched
            .iter()
            .any(|(service, _)| matches!(service.forward, Forward::Ipip | Forward::Gue));
        let names =
            || watched.iter().flat_map(|(service, names)| names.iter().map(|it| (*service, it)));
        let all = (names().count() > MANY).then(|| self.all_seen().ok()).flatten();
        let mut seen = BTreeMap::new();
        let mut observations = Observations::new();
        for (service, name) in names() {
            let of_service = observations.entry(service.name.clone()).or_default();
            let mut now = self.seen(service, name, all.as_ref());
            // What was counted before anybody looked is no period's.
            if let Some(before) = self.watch.seen.get(name) {
                let observation = self.observation(service, name, before, &mut now);
                self.watch.totals.add(name, &observation);
                of_service.insert(name.address, observation);
            }
            seen.insert(name.clone(), now);
        }
        self.watch.totals.keep(&names().map(|(_, name)| name).collect());
        self.watch.seen = seen;
        self.watch.checks.clear();
        self.watch.errors.clear();
        if has_tunnels {
            self.watch.listen(self.control.config().daemon.gue_port);
        }
        self.take(&Input::Observed(observations));
    }

    /// Counts what is told of backends that are watched.
    pub(super) fn note_ejection(&mut self, event: &Event) {
        self.watch.totals.note(event);
    }

    /// What was seen of a backend; `None` if its service does not ask.
    pub(super) fn watch_report(
        &self,
        service: &Service,
        backend: &BackendName,
    ) -> Option<WatchReport> {
        let suspect = self.control.suspicion(backend).is_some();
        let seen = || WatchReport { suspect, ..self.watch.totals.of(backend) };
        service.watches_traffic().then(seen)
    }

    fn all_seen(&self) -> Result<All, MapError> {
        let counters = &self.datapath.counters;
        Ok(All { counters: counters.all_backends()?, signals: counters.all_signals()? })
    }

    fn seen(&self, service: &Service, name: &BackendName, all: Option<&All>) -> Seen {
        let (tables, counters) = (&self.datapath.tables, &self.datapath.counters);
        let index = tables.backend_id(&service.key(), &Address::from(name.address));
        let Some(index) = index else { return Seen::default() };
        let (counters, signals) = match all {
            Some(All { counters, signals }) => {
                let at = usize::from(index);
                (counters.get(at).copied(), signals.get(at).copied())
            }
            None => (counters.backend(index).ok(), counters.signals(index).ok()),
        };
        let (counters, signals) = (counters.unwrap_or_default(), signals.unwrap_or_default());
        Seen { counters, signals, unanswered: 0 }
    }

    /// What was seen of a backend between two looks. The second one learns what is not judged yet.
    fn observation(
        &self,
        service: &Service,
        name: &BackendName,
        before: &Seen,
        now: &mut Seen,
    ) -> Observation {
        let checks = self.watch.checks.get(name).copied().unwrap_or_default();
        let has_error = self.watch.has_error(service, &name.address);
        let period = Traffic::between(before, now, has_error);
        let (traffic, unanswered) = period.tally(service.forward, service.protocol);
        now.unanswered = unanswered;
        Observation {
            checks: checks.tally,
            check_latency: checks.time.checked_div(checks.passed),
            traffic,
            handshake: period.handshake(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::unreachables::{Code, Tunnel};

    #[tokio::test]
    async fn an_error_counts_for_the_service_that_it_quotes() {
        let config = "[daemon]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\n\
                      vip = \"192.0.2.80\"\nport = 80\nprotocol = \"tcp\"\nforward = \"ipip\"\n\
                      [[service.backend]]\naddress = \"10.0.1.11\"\n";
        let config = crate::config::Config::parse("test", config).expect("good");
        let service = &config.services[0];
        let backend: IpAddr = "10.0.1.11".parse().expect("an address");
        for (inner, expected) in
            [(None, true), (Some("192.0.2.80"), true), (Some("192.0.2.81"), false)]
        {
            let mut watch = Watch::new(mpsc::channel(1).0);
            assert!(!watch.has_error(service, &backend));
            let inner = inner.map(|inner| inner.parse().expect("an address"));
            let (ours, code) = ("10.0.0.2".parse().expect("an address"), Code::Host);
            watch.note_error(&Unreachable { ours, backend, tunnel: Tunnel::Ipip, inner, code });
            assert_eq!(watch.has_error(service, &backend), expected, "{inner:?}");
            assert!(!watch.has_error(service, &"10.0.1.12".parse().expect("an address")));
        }
    }
}
