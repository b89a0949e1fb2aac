//! What clients' connections show of backends: read each second, of services that ask.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use lb_common::{Address, Counters, Forward};
use tokio::{sync::mpsc, task::AbortHandle};

use super::Daemon;
use crate::{
    control::{Input, Observations},
    datapath::{
        signals::Signals,
        unreachables::{Listener, Unreachable},
    },
    health::CheckResult,
    model::{BackendName, Protocol, Service},
    outlier::{Observation, Tally},
};

/// What has been seen since the last look.
pub(super) struct Watch {
    /// Counters at the last look.
    seen: BTreeMap<BackendName, Seen>,
    checks: BTreeMap<BackendName, Checks>,
    /// Backends about which ICMP errors have come.
    errors: BTreeMap<IpAddr, Unreachable>,
    listener: Option<AbortHandle>,
    /// When what was learned was last written down.
    kept: Instant,
    reports: mpsc::Sender<Unreachable>,
}

/// Checks that ended since the last look.
#[derive(Clone, Copy, Default)]
struct Checks {
    tally: Tally,
    passed: u32,
    time: Duration,
}

/// What is counted of a backend, since it got its index.
#[derive(Clone, Copy, Default)]
struct Seen {
    counters: Counters,
    signals: Signals,
}

/// What is learned changes slowly, and what is lost of it is learned again.
const KEEP_EVERY: Duration = Duration::from_secs(600);

impl Watch {
    pub(super) fn new(reports: mpsc::Sender<Unreachable>) -> Self {
        Self {
            seen: BTreeMap::new(),
            checks: BTreeMap::new(),
            errors: BTreeMap::new(),
            listener: None,
            kept: Instant::now(),
            reports,
        }
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
        // Forged ones must not fill memory.
        if self.watch.errors.len() < usize::from(u16::MAX) {
            self.watch.errors.insert(error.backend, error);
        }
    }

    /// Looks at what has happened within a second.
    pub(super) fn look_at_traffic(&mut self) {
        let watched: Vec<&Service> =
            self.control.services().values().filter(|service| service.watches_traffic()).collect();
        if watched.is_empty() {
            self.watch.seen.clear();
            self.watch.checks.clear();
            self.watch.errors.clear();
            return;
        }
        let has_tunnels =
            watched.iter().any(|service| matches!(service.forward, Forward::Ipip | Forward::Gue));
        let mut seen = BTreeMap::new();
        let mut observations = Observations::new();
        for service in watched {
            let of_service = observations.entry(service.name.clone()).or_default();
            for view in self.control.views_of(service) {
                let now = self.seen(service, &view.name);
                let before = self.watch.seen.get(&view.name);
                // What was counted before anybody looked is no period's.
                if let Some(before) = before {
                    let observation = self.observation(service, &view.name, before, &now);
                    of_service.insert(view.name.address, observation);
                }
                seen.insert(view.name, now);
            }
        }
        self.watch.seen = seen;
        self.watch.checks.clear();
        self.watch.errors.clear();
        if has_tunnels {
            self.watch.listen(self.control.config().daemon.gue_port);
        }
        self.take(&Input::Observed(observations));
    }

    /// Writes down what was learned, now and then.
    pub(super) fn keep_history(&mut self) {
        if self.watch.kept.elapsed() < KEEP_EVERY {
            return;
        }
        self.watch.kept = Instant::now();
        self.write_history();
    }

    /// Writes down what was learned, if anything is.
    pub(super) fn write_history(&self) {
        if !self.control.history().is_empty() {
            self.remember("history", |state, control| state.set_history(&control.history()));
        }
    }

    fn seen(&self, service: &Service, name: &BackendName) -> Seen {
        let (tables, counters) = (&self.datapath.tables, &self.datapath.counters);
        let index = tables.backend_id(&service.key(), &Address::from(name.address));
        let read = |index| Seen {
            counters: counters.backend(index).unwrap_or_default(),
            signals: counters.signals(index).unwrap_or_default(),
        };
        index.map(read).unwrap_or_default()
    }

    fn observation(
        &self,
        service: &Service,
        name: &BackendName,
        before: &Seen,
        now: &Seen,
    ) -> Observation {
        let checks = self.watch.checks.get(name).copied().unwrap_or_default();
        let period = Traffic::between(before, now);
        let has_error = self.watch.errors.contains_key(&name.address);
        Observation {
            checks: checks.tally,
            check_latency: checks.time.checked_div(checks.passed),
            traffic: period.tally(service.forward, service.protocol, has_error),
            handshake: Duration::from_micros(period.handshake_micros)
                .checked_div(u32::try_from(period.handshakes).unwrap_or(u32::MAX)),
        }
    }
}

/// What packets of a period come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    packets: u64,
    /// SYN, those that came again included.
    syns: u64,
    repeats: u64,
    resets: u64,
    unreachables: u64,
    handshakes: u64,
    handshake_micros: u64,
}

impl Traffic {
    fn between(before: &Seen, now: &Seen) -> Self {
        // Another backend may have got the index, whose counters began anew.
        let grown = |before: u64, now: u64| if now < before { now } else { now - before };
        let (a, b) = (&before.counters, &now.counters);
        let (c, d) = (&before.signals, &now.signals);
        Self {
            packets: grown(a.packets, b.packets),
            syns: grown(a.new_flows, b.new_flows),
            repeats: grown(c.repeats, d.repeats),
            resets: grown(c.resets, d.resets),
            unreachables: grown(c.unreachables, d.unreachables),
            handshakes: grown(c.handshakes, d.handshakes),
            handshake_micros: grown(c.handshake_micros, d.handshake_micros),
        }
    }

    /// Attempts, and those that failed.
    ///
    /// Where answers pass here, a RST, an ICMP error and a SYN that comes again each tell of one that
    /// failed. Where they do not, a client that was answered sends one packet more at least: as many
    /// attempts failed as such packets are missing. That misses failures beside busy connections, and
    /// takes a flood of SYN for failures, but of all backends alike.
    fn tally(&self, forward: Forward, protocol: Protocol, has_error: bool) -> Tally {
        let attempts = match protocol {
            Protocol::Tcp => self.syns.saturating_sub(self.repeats),
            Protocol::Udp => self.packets,
        };
        let told = match (forward, protocol) {
            (Forward::Nat, _) => self.resets + self.unreachables + self.repeats,
            (_, Protocol::Tcp) => {
                let others = self.packets.saturating_sub(self.syns);
                attempts.saturating_sub(others).max(self.repeats)
            }
            (_, Protocol::Udp) => 0,
        };
        let failures = told.max(u64::from(has_error));
        let short = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Tally { attempts: short(attempts.max(failures)), failures: short(failures) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(forward: Forward, traffic: Traffic, has_error: bool) -> (u32, u32) {
        let Tally { attempts, failures } = traffic.tally(forward, Protocol::Tcp, has_error);
        (attempts, failures)
    }

    #[test]
    fn translation_sees_every_answer() {
        let traffic =
            Traffic { packets: 40, syns: 12, repeats: 2, resets: 3, ..Traffic::default() };
        assert_eq!(tally(Forward::Nat, traffic, false), (10, 5));
    }

    #[test]
    fn without_answers_a_client_that_goes_on_was_answered() {
        let silent = Traffic { packets: 9, syns: 9, ..Traffic::default() };
        assert_eq!(tally(Forward::L2, silent, false), (9, 9));
        let some = Traffic { packets: 15, syns: 9, ..Traffic::default() };
        assert_eq!(tally(Forward::Ipip, some, false), (9, 3));
        let busy = Traffic { packets: 900, syns: 9, ..Traffic::default() };
        assert_eq!(tally(Forward::Gue, busy, false), (9, 0));
        assert_eq!(tally(Forward::Gue, busy, true), (9, 1), "somebody says that it leads nowhere");
        assert_eq!(tally(Forward::Ipip, Traffic::default(), true), (1, 1));
    }

    #[test]
    fn counters_that_begin_anew_are_no_flood() {
        let counters = |new_flows| Counters { new_flows, ..Counters::default() };
        let seen = |flows| Seen { counters: counters(flows), ..Seen::default() };
        assert_eq!(Traffic::between(&seen(100), &seen(103)).syns, 3);
        assert_eq!(Traffic::between(&seen(100), &seen(2)).syns, 2);
    }
}
