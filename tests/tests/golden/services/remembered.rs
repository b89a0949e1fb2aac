//! Flows of UDP that keep their backend over changes.

use std::time::Duration;

use lb_common::{Verdict::NoBackend, service::UDP};
use lb_tests::packets::{Shape, fixture::key};
use lb_userspace::datapath::{
    desired::{DesiredMember, Flows},
    policies::DesiredUdp,
};

use super::{
    DesiredPolicy, DesiredService, FIRST, Kind, SECOND, Site, THIRD, leaving, service, with,
};

/// Few enough for half of the smallest of caches.
const FLOWS: u16 = 4;

fn remembering(backends: &[Kind]) -> DesiredService {
    let udp = DesiredUdp::Remember(Duration::from_secs(600));
    let policy = DesiredPolicy { udp, ..DesiredPolicy::default() };
    with(policy, service(key("10.200.0.1", 53, UDP), backends))
}

fn with_members(more: &[DesiredMember], backends: &[Kind]) -> DesiredService {
    let mut service = remembering(backends);
    service.members.extend(more);
    service.members.sort_by_key(|member| member.address);
    service
}

fn fates(site: &mut Site) -> Vec<Result<Kind, lb_common::Verdict>> {
    let datagram = |port| Shape::udp(&format!("198.51.100.7:{port}"), "10.200.0.1:53");
    (1..=FLOWS).map(|port| site.fate_of(&datagram(port))).collect()
}

#[test]
fn flows_stay_while_backends_come_and_drain_and_leave_with_theirs() {
    let mut site = Site::new(&[remembering(&[FIRST])]);
    assert_eq!(fates(&mut site), [Ok(FIRST); FLOWS as usize]);
    site.change(&[remembering(&[FIRST, SECOND, THIRD])]);
    assert_eq!(fates(&mut site), [Ok(FIRST); FLOWS as usize], "newcomers get new flows only");
    site.change(&[with_members(&[leaving(FIRST, Flows::Keep)], &[SECOND])]);
    assert_eq!(fates(&mut site), [Ok(FIRST); FLOWS as usize], "drained backends keep theirs");
    site.change(&[with_members(&[leaving(FIRST, Flows::Keep)], &[])]);
    assert_eq!(fates(&mut site), [Ok(FIRST); FLOWS as usize], "also when nobody else is there");
    site.change(&[with_members(&[leaving(FIRST, Flows::Leave)], &[SECOND])]);
    assert_eq!(fates(&mut site), [Ok(SECOND); FLOWS as usize], "it is down");
    site.change(&[remembering(&[FIRST, SECOND])]);
    assert_eq!(fates(&mut site), [Ok(SECOND); FLOWS as usize], "and gets nothing back");
    site.change(&[remembering(&[FIRST])]);
    assert_eq!(fates(&mut site), [Ok(FIRST); FLOWS as usize], "the other is gone");
}

#[test]
fn without_anybody_nothing_is_remembered() {
    let mut site = Site::new(&[remembering(&[])]);
    assert_eq!(fates(&mut site), [Err(NoBackend); FLOWS as usize]);
    assert_eq!(site.balancer.remembered(), []);
}

#[test]
fn without_a_place_flows_go_by_their_hash() {
    let mut site = Site::new(&[remembering(&[FIRST])]);
    site.balancer.set_inserts_per_tick(0);
    assert_eq!(fates(&mut site), [Ok(FIRST); FLOWS as usize]);
    site.change(&[remembering(&[SECOND])]);
    site.balancer.set_inserts_per_tick(0);
    assert_eq!(fates(&mut site), [Ok(SECOND); FLOWS as usize]);
}

#[test]
fn what_is_remembered_longer_ago_than_the_timeout_counts_for_nothing() {
    let mut site = Site::new(&[remembering(&[FIRST, SECOND])]);
    fates(&mut site);
    // A timeout of so few ticks that flows of a longer one, which are aged here, are over it.
    let udp = DesiredUdp::Remember(Duration::from_secs(20));
    let policy = DesiredPolicy { udp, ..DesiredPolicy::default() };
    let flows: Vec<_> = {
        let sets = site.balancer.arrays().flows.iter();
        sets.flat_map(lb_common::FlowSet::iter).collect()
    };
    for (tag, flow) in flows {
        let seen = flow.seen.wrapping_sub(1000);
        site.balancer.remember(tag, lb_common::flow::Remembered { seen, ..flow });
    }
    let drained = [FIRST, SECOND].map(|kind| leaving(kind, Flows::Keep));
    site.change(&[with(policy, with_members(&drained, &[THIRD]))]);
    assert_eq!(fates(&mut site), [Ok(THIRD); FLOWS as usize]);
}
