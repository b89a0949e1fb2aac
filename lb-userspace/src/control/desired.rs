//! What the kernel's tables are to say.

use lb_common::{Address, Forward};

use super::{BackendView, Control, State, Trace, policy, view};
use crate::{
    control::Fate,
    datapath::desired::{DesiredMember, DesiredService},
    model::{BackendName, Service},
};

impl Control {
    /// What the kernel's tables are to say at a time that [`Control::note`] was told.
    #[must_use]
    pub fn desired(&self, now: u64) -> Vec<DesiredService> {
        let desired = |service| self.desired_service(service, &view::backends(self, service), now);
        self.services.values().map(desired).collect()
    }

    pub(super) fn desired_service(
        &self,
        service: &Service,
        views: &[BackendView],
        now: u64,
    ) -> DesiredService {
        let member = |view: &BackendView| DesiredMember {
            address: Address::from(view.name.address),
            port: service.port_of(&view.name.address),
            base_weight: if self.has_joined(view) { u32::from(view.configured_weight) } else { 0 },
            weight: u32::from(view.serving_weight()),
            flows: self.absences.fate(service, view, now).flows,
        };
        // Of a backend that was removed only the flows that it has are left.
        let former = |(name, trace, fate): (&BackendName, Trace, Fate)| DesiredMember {
            address: Address::from(name.address),
            port: trace.port,
            base_weight: 0,
            weight: 0,
            flows: fate.flows,
        };
        // Translation does not turn one family into the other, whoever names such a backend.
        let is_reachable = |member: &DesiredMember| {
            service.forward != Forward::Nat || member.address.is_ipv6() == service.key().is_ipv6()
        };
        let members = views.iter().map(member);
        let departed = || self.absences.departed(service, now);
        let members = members.chain(departed().map(former)).filter(is_reachable).collect();
        let mut policy = policy::desired(service, &self.config.daemon);
        policy::keep_servers(
            &mut policy.udp,
            departed().map(|(name, trace, _)| (name.address, trace.server_id)),
        );
        DesiredService {
            last_port: service.ports.last_of_range().unwrap_or_default(),
            table_slots: service.table_slots,
            policy,
            ping: service.policy.ping.map(policy::ping),
            ..DesiredService::plain(service.key(), service.forward, members)
        }
    }

    /// Whether a backend has a part in the base. One that is new joins when it is first judged, for
    /// the moment before as if it were not there yet: joining twice, first without slots, would move
    /// twice what must move. From then on it has its part whatever its state is: whether it has ever
    /// been up is history, which another load balancer of the group does not share, and its table
    /// must be the same.
    pub(super) fn has_joined(&self, view: &BackendView) -> bool {
        view.effective.state != State::Starting || self.joined.contains(&view.name)
    }
}
