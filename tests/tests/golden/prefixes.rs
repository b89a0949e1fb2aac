//! Every golden packet, cut off after every byte.

use lb_tests::packets::{SHORTEST_FRAME, XdpAction, fixture};

use crate::{Case, extended, forwarded, icmp, malformed, refused, tags, told, untouched};

/// No cut may abort the program, and what is sent on is a whole packet: only bytes behind it may
/// be missing. [`Balancer::agree`] checks that kernel and host see the cut alike.
///
/// [`Balancer::agree`]: lb_tests::packets::Balancer::agree
#[test]
fn every_prefix_of_every_golden_packet_is_judged_alike() {
    let mut balancer = fixture::balancer();
    balancer.set_replies_per_tick(u32::MAX);
    let cases = [
        forwarded::cases(),
        tags::cases(),
        extended::cases(),
        icmp::cases(),
        untouched::cases(),
        malformed::cases(),
        refused::cases(),
        told::cases(),
    ];
    for case in cases.iter().flatten() {
        let packet_end = case.frame.len() - case.trailer;
        for length in 0..case.frame.len() {
            let prefix = &case.frame[..length];
            let outcome = if length < SHORTEST_FRAME {
                balancer.run_on_host(prefix)
            } else {
                balancer.agree(prefix)
            };
            let is_whole = length >= packet_end;
            if is_whole && is_sent(case) {
                assert_eq!(outcome.action, case.expected.action, "{} {length}", case.name);
            } else {
                let is_kept = matches!(outcome.action, XdpAction::Pass | XdpAction::Drop);
                assert!(is_kept, "{} cut to {length}: {outcome}", case.name);
                assert_eq!(outcome.bytes, prefix, "{} cut to {length}", case.name);
            }
        }
    }
    balancer.compare().expect("the same counters");
}

fn is_sent(case: &Case) -> bool {
    matches!(case.expected.action, XdpAction::Transmit | XdpAction::Redirect)
}
