//! What a daemon that begins takes for granted, by the tables that an earlier one has left.

use std::{collections::BTreeSet, net::IpAddr};

use lb_common::Address;

use super::{Daemon, now};
use crate::{
    model::{Backend, BackendName, DEFAULT_WEIGHT, Priority, Scheduler, Service, ServiceName},
    source::Snapshot,
};

impl Daemon {
    /// A registry whose last answer is not known, since the state directory was lost, has said what
    /// is in the tables, until it answers: a restart must not empty a service.
    pub(super) fn presume_registered(&mut self) {
        let unknown: Vec<(ServiceName, Snapshot)> = self
            .control
            .services()
            .values()
            .filter(|service| service.source.is_some())
            .filter(|service| !self.control.registered().contains_key(&service.name))
            .filter_map(|service| {
                let tables = &self.datapath.tables;
                let key = service.key();
                let (members, serving) = (tables.members(&key), tables.serving_members(&key));
                Some((service.name.clone(), presumed_answer(service, &members, &serving)?))
            })
            .collect();
        for (service, snapshot) in unknown {
            let backends = snapshot.backends.len();
            match self.control.presume_registered(&service, snapshot) {
                Ok(()) => tracing::warn!(
                    %service,
                    backends,
                    "the registry's last answer is not known: its backends are those of the pinned \
                     tables until it answers"
                ),
                Err(error) => tracing::warn!(%service, %error, "pinned backends are not kept"),
            }
        }
    }

    /// Backends of the tables that nobody names any more have left while no daemon was looking.
    pub(super) fn presume_departed(&mut self) {
        let now = self.clock();
        let tables = &self.datapath.tables;
        let known: Vec<(BackendName, u16)> = self
            .control
            .services()
            .values()
            .flat_map(|service| {
                let members = tables.members(&service.key()).into_iter();
                members.map(move |member| {
                    let address = IpAddr::from(member);
                    let name = BackendName { service: service.name.clone(), address };
                    (name, tables.translated_port(&service.key(), &member))
                })
            })
            .collect();
        for (name, port) in known {
            self.control.presume_departed(name, port, now);
        }
    }

    /// A backend that took new flows when the tables were left is up until its checks say
    /// otherwise, also when the state directory was lost: a restart must not empty a service. One
    /// that packets know has been open, whoever took new flows.
    pub(super) fn presume_health(&mut self) {
        let (tables, services) = (&self.datapath.tables, self.control.services());
        let is_known = |service: &&Service| tables.service_id(&service.key()).is_some();
        let known: Vec<(ServiceName, BTreeSet<Address>)> = services
            .values()
            .filter(is_known)
            .map(|service| (service.name.clone(), tables.serving_members(&service.key())))
            .collect();
        for (service, serving) in known {
            self.control.presume_open(&service);
            for member in serving {
                let name = BackendName { service: service.clone(), address: member.into() };
                self.control.presume_up(&name, now());
            }
        }
    }
}

/// What a registry has said if these are the members of its service, and these of them take new flows;
/// `None` if none of them came from there. Tables do not tell weights, and of turns only whose it is.
///
/// Whoever takes no new flows has been removed, is down, or drains, unless all are so. Where backends
/// stand by for others, it waits for its turn.
fn presumed_answer(
    service: &Service,
    members: &[Address],
    serving: &BTreeSet<Address>,
) -> Option<Snapshot> {
    let stand_by = service.scheduler == Scheduler::PrimaryBackup && !serving.is_empty();
    let takes_part = |member: &Address| stand_by || serving.is_empty() || serving.contains(member);
    let configured = |member: &Address| {
        service.backends.iter().find(|backend| *member == backend.address.into())
    };
    let turn = serving.iter().filter_map(configured).map(|backend| backend.priority).min();
    let priority = |member: &Address| match stand_by {
        true if serving.contains(member) => turn.unwrap_or_default(),
        true => Priority::MAX,
        false => 0,
    };
    let backends: Vec<Backend> = members
        .iter()
        .filter(|member| configured(member).is_none() && takes_part(member))
        .map(|member| Backend {
            address: IpAddr::from(*member),
            weight: DEFAULT_WEIGHT,
            port: 0,
            priority: priority(member),
        })
        .collect();
    (!backends.is_empty()).then_some(Snapshot { backends })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_nobody_configured_came_from_the_registry() {
        let text = "name = \"web\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"l2\"\n\
                    [[backend]]\naddress = \"10.0.1.11\"";
        let service = crate::config::parse_service("a service", text).expect("valid");
        let address = |last| IpAddr::from([10, 0, 1, last]);
        let members = [11, 12, 13].map(|last| Address::from(address(last)));
        let (all, nobody) = (members.into(), BTreeSet::new());
        let backend =
            |last, priority| Backend { address: address(last), weight: 100, port: 0, priority };
        for serving in [&all, &nobody] {
            let answer = presumed_answer(&service, &members, serving).expect("two of them");
            assert_eq!(answer.backends, [backend(12, 0), backend(13, 0)]);
        }
        assert_eq!(presumed_answer(&service, &members[..1], &all), None);
        let one = [members[1]].into();
        let answer = presumed_answer(&service, &members, &one).expect("one of them");
        assert_eq!(answer.backends, [backend(12, 0)], "the others have been removed");
    }

    #[test]
    fn members_that_stand_by_are_not_taken_for_removed() {
        let text = "name = \"web\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"l2\"\n\
                    scheduler = \"primary-backup\"\n\
                    [[backend]]\naddress = \"10.0.1.11\"\npriority = 3";
        let service = crate::config::parse_service("a service", text).expect("valid");
        let address = |last| Address::from(IpAddr::from([10, 0, 1, last]));
        let members = [11, 12, 13].map(address);
        let turns = |serving: &[u8]| {
            let serving = serving.iter().copied().map(address).collect();
            let answer = presumed_answer(&service, &members, &serving).expect("two of them");
            answer.backends.iter().map(|backend| backend.priority).collect::<Vec<_>>()
        };
        assert_eq!(turns(&[12]), [0, 255]);
        assert_eq!(turns(&[11, 12]), [3, 255], "both serve");
        assert_eq!(turns(&[11]), [255, 255]);
        assert_eq!(turns(&[]), [0, 0]);
    }
}
