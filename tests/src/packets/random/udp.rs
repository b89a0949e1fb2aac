//! How flows of a random UDP service find their backend.

use std::time::Duration;

use fastrand::Rng;
use lb_common::policy::ServerIdLayout;
use lb_userspace::datapath::{desired::DesiredMember, policies::DesiredUdp};

use super::one_of;

pub(super) fn random_udp(rng: &mut Rng, members: &[DesiredMember]) -> DesiredUdp {
    match rng.u8(..4) {
        0 => DesiredUdp::Hash,
        1 => DesiredUdp::Remember(Duration::from_secs(one_of(rng, &[100, 600, 14_400]))),
        _ => {
            // As the clients' connection identifiers are: the second byte is one of four.
            let (offset, length, first) = one_of(rng, &[(1, 1, 0), (0, 2, 0x4000), (1, 8, 0)]);
            let ids = members.iter().zip(first..first + 4);
            let servers = ids.map(|(member, id)| (member.address, id)).collect();
            DesiredUdp::Quic { layout: ServerIdLayout { offset, length }, servers }
        }
    }
}
