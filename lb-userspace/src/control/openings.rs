//! Services that are new: they open once all of their backends have been judged, so that their first
//! table has everybody in it. One that grew backend by backend would move flows at each step, and
//! its slots would have a past that only this load balancer knows.

use std::collections::{BTreeMap, BTreeSet};

use super::{BackendView, State};
use crate::model::{Service, ServiceName};

/// Longest time that a service waits for its backends, in milliseconds. First checks begin within a
/// tenth of a second; whoever answers them that late need not be waited for.
const WITHIN: u64 = 1000;

/// Which services wait, and since when, in milliseconds of a clock that only goes forward.
#[derive(Clone, Debug, Default)]
pub(super) struct Openings {
    waiting: BTreeMap<ServiceName, u64>,
    open: BTreeSet<ServiceName>,
}

impl Openings {
    /// Takes in which services there are and whether `is_judged` says that all their backends are.
    pub(super) fn note<'a>(
        &mut self,
        services: impl Iterator<Item = (&'a Service, bool)>,
        now: u64,
    ) {
        let (mut waiting, mut open) = (BTreeMap::new(), BTreeSet::new());
        for (Service { name, .. }, is_judged) in services {
            let since = self.waiting.get(name).copied().unwrap_or(now);
            if is_judged || self.open.contains(name) || now >= since + WITHIN {
                open.insert(name.clone());
            } else {
                waiting.insert(name.clone(), since);
            }
        }
        (self.waiting, self.open) = (waiting, open);
    }

    /// Takes in that a service has been open before the daemon began.
    pub(super) fn presume_open(&mut self, name: &ServiceName) {
        self.waiting.remove(name);
        self.open.insert(name.clone());
    }

    /// What is known of services goes on under other names; `None` is the end of it.
    pub(super) fn rename(&mut self, renamed: impl Fn(&ServiceName) -> Option<ServiceName>) {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.filter_map(|(name, since)| Some((renamed(&name)?, since))).collect();
        self.open = self.open.iter().filter_map(renamed).collect();
    }

    /// Whether a service is open.
    pub(super) fn is_open(&self, name: &ServiceName) -> bool {
        self.open.contains(name)
    }

    /// Whether a service still waits.
    pub(super) fn is_waiting(&self, name: &ServiceName) -> bool {
        self.waiting.contains_key(name)
    }

    /// When the first that waits opens, whatever its backends are.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.waiting.values().map(|since| since + WITHIN).min()
    }
}

/// Has backends wait for the others of their service.
pub(super) fn wait(views: &mut [BackendView]) {
    for view in views {
        if view.effective.state == State::Up {
            view.effective.state = State::Starting;
            view.effective.reason = "waits for the first checks of the service's others".to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::Config,
        control::{Control, Memory, Moment, State},
        health::{CheckFailure, CheckResult, Health},
        model::{Backend, BackendName},
        netlink::Via,
        source::Snapshot,
    };

    const CONFIG: &str = r#"
[daemon]
interfaces = ["eth0"]
[[service]]
name = "web"
vip = "10.200.0.1"
port = 80
forward = "ipip"
[service.health_check]
type = "tcp"
rise = 1
fall = 1
[[service.backend]]
address = "10.0.1.11"
[[service.backend]]
address = "10.0.1.12"
"#;

    /// A control core that has just begun.
    fn begun() -> Control {
        let config = Config::parse("lb.toml", CONFIG).expect("valid");
        let mut control = Control::new(config, Memory::default()).expect("room");
        for name in names() {
            control.reached(name.address, Via::Direct);
        }
        control.note(0);
        control
    }

    fn names() -> [BackendName; 2] {
        ["web/10.0.1.11", "web/10.0.1.12"].map(|name| name.parse().expect("a name"))
    }

    fn judge(control: &mut Control, number: usize, is_well: bool) {
        let backend = names()[number].clone();
        let generation = control
            .targets()
            .into_iter()
            .find(|target| target.backend == backend)
            .expect("a target")
            .generation;
        let outcome =
            if is_well { Ok(std::time::Duration::ZERO) } else { Err(CheckFailure::ConnectRefused) };
        control
            .judge(&CheckResult { backend, generation, outcome, weight: None }, Moment::default());
    }

    fn states(control: &Control) -> Vec<State> {
        control.views().map(|view| view.effective.state).collect()
    }

    fn weights(control: &Control, now: u64) -> Vec<u32> {
        control.desired(now)[0].members.iter().map(|member| member.weight).collect()
    }

    #[test]
    fn a_service_opens_when_all_its_backends_are_judged() {
        for is_well in [true, false] {
            let mut control = begun();
            judge(&mut control, 0, true);
            control.note(5);
            assert_eq!(states(&control), [State::Starting; 2]);
            assert_eq!(weights(&control, 5), [0, 0]);
            judge(&mut control, 1, is_well);
            control.note(10);
            assert_eq!(weights(&control, 10), [100, if is_well { 100 } else { 0 }]);
            assert_eq!(states(&control)[0], State::Up);
        }
    }

    #[test]
    fn nobody_waits_for_longer_than_a_second_nor_twice() {
        let mut control = begun();
        judge(&mut control, 0, true);
        control.note(999);
        assert_eq!((weights(&control, 999), control.next_deadline(999)), (vec![0, 0], Some(1000)));
        control.note(1000);
        assert_eq!(weights(&control, 1000), [100, 0]);
        judge(&mut control, 0, false);
        judge(&mut control, 0, true);
        control.note(1001);
        assert_eq!(weights(&control, 1001), [100, 0]);
    }

    #[test]
    fn a_service_that_was_open_before_the_daemon_began_does_not_wait() {
        let mut control = begun();
        control.presume_up(&names()[0], 0);
        control.note(1);
        assert_eq!(weights(&control, 1), [100, 0]);
    }

    #[test]
    fn a_service_whose_backends_were_up_before_the_daemon_began_does_not_wait() {
        let health = [(names()[0].clone(), Health::presumed_up(7))].into();
        let config = Config::parse("lb.toml", CONFIG).expect("valid");
        let mut control =
            Control::new(config, Memory { health, ..Memory::default() }).expect("room");
        control.reached(names()[0].address, Via::Direct);
        control.note(1);
        assert_eq!(weights(&control, 1), [100, 0]);
    }

    #[test]
    fn another_name_closes_no_service() {
        let mut control = begun();
        judge(&mut control, 0, true);
        control.note(1000);
        assert_eq!(weights(&control, 1000), [100, 0]);
        let renamed = CONFIG.replace("\"web\"", "\"www\"");
        control.reload(Config::parse("lb.toml", &renamed).expect("valid")).expect("room");
        control.note(1001);
        assert_eq!(weights(&control, 1001), [100, 0]);
    }

    #[test]
    fn a_registry_that_has_not_answered_is_waited_for() {
        let source = "[service.source]\ntype = \"file\"\npath = \"/etc/lb/web.json\"\n";
        let named = CONFIG.split("[[service.backend]]").next().expect("the first part");
        let config = Config::parse("lb.toml", &format!("{named}{source}")).expect("valid");
        let mut control = Control::new(config, Memory::default()).expect("room");
        control.note(0);
        assert_eq!(control.next_deadline(0), Some(1000));
        let backend = |name: BackendName| Backend {
            address: name.address,
            weight: 100,
            port: 0,
            priority: 0,
        };
        let backends = names().map(backend).into();
        control.register(&names()[0].service, Snapshot { backends }).expect("room");
        for name in names() {
            control.reached(name.address, Via::Direct);
        }
        judge(&mut control, 0, true);
        control.note(5);
        assert_eq!(weights(&control, 5), [0, 0]);
        judge(&mut control, 1, true);
        control.note(6);
        assert_eq!(weights(&control, 6), [100, 100]);
    }
}
