//! Fragments of datagrams, in any order.

use lb_common::{
    Verdict::{self, Fragment, FragmentUnmatched},
    service::UDP,
};
use lb_tests::packets::{Shape, fixture::key, fragments};

use super::{
    DesiredPolicy, DesiredService, FIRST, Kind, SECOND, Site, THIRD, prefix_key, service, with,
};

const VIPS: [(&str, &str); 2] =
    [("198.51.100.7", "10.200.0.1"), ("[2001:db8::7]", "[fd00:200::1]")];

/// A datagram of some pieces.
fn pieces(number: u16, (client, vip): (&str, &str), port: u16) -> Vec<Vec<u8>> {
    let shape = Shape::udp(&format!("{client}:{}", 1000 + number), &format!("{vip}:{port}"));
    let shape = Shape { payload: vec![0x2a; 100], ..shape };
    fragments(&shape.frame(), 40, u32::from(number))
}

fn services(by_address: bool) -> Vec<DesiredService> {
    let vips = ["10.200.0.1", "fd00:200::1"];
    let policy = DesiredPolicy { by_address, ..DesiredPolicy::default() };
    let service = |vip| service(key(vip, 53, UDP), &[FIRST, SECOND, THIRD]);
    vips.map(|vip| with(policy.clone(), service(vip))).to_vec()
}

#[test]
fn tracked_fragments_follow_the_first_and_are_dropped_before_it() {
    let mut site = Site::new(&services(false));
    for ends in VIPS {
        for number in 1..20 {
            let pieces = pieces(number, ends, 53);
            assert_eq!(site.fate(&pieces[1]), Err(FragmentUnmatched));
            let first = site.fate(&pieces[0]);
            assert!(first.is_ok());
            for later in [&pieces[2], &pieces[1]] {
                assert_eq!(site.fate(later), first);
            }
        }
    }
}

#[test]
fn flows_by_address_have_one_backend_for_all_fragments_in_any_order() {
    let mut site = Site::new(&services(true));
    for ends in VIPS {
        let mut fates: Vec<Result<Kind, Verdict>> = Vec::new();
        for number in 20..40 {
            let mut pieces = pieces(number, ends, 53);
            pieces.rotate_left(usize::from(number) % 3);
            fates.extend(pieces.iter().map(|piece| site.fate(piece)));
        }
        let whole = Shape::udp(&format!("{}:5", ends.0), &format!("{}:53", ends.1));
        fates.push(site.fate_of(&whole));
        assert!(fates[0].is_ok() && fates.iter().all(|fate| *fate == fates[0]), "{fates:?}");
    }
}

#[test]
fn clients_of_flows_by_address_share_the_backends() {
    let mut site = Site::new(&services(true));
    let from = |last| Shape::udp(&format!("198.51.100.{last}:5"), "10.200.0.1:53");
    let mut seen: Vec<Kind> = (1..60).filter_map(|last| site.fate_of(&from(last)).ok()).collect();
    assert_eq!(seen.len(), 59);
    seen.sort_by_key(|kind| kind.port());
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn fragments_for_no_service_of_the_protocol_pass() {
    let mut site = Site::new(&services(false));
    let elsewhere = pieces(1, ("198.51.100.7", "10.200.0.9"), 53);
    assert_eq!(site.fate(&elsewhere[1]), Err(Fragment));
    site.change(&[]);
    assert_eq!(site.fate(&pieces(2, VIPS[0], 53)[1]), Err(Fragment));
}

#[test]
fn ranges_and_prefixes_take_fragments_too() {
    for by_address in [false, true] {
        let policy = DesiredPolicy { by_address, ..DesiredPolicy::default() };
        let range = prefix_key("10.200.0.0", 24, 0, UDP).range_from(50);
        let backends = [FIRST, SECOND, THIRD];
        let range = DesiredService { last_port: 60, ..service(range, &backends) };
        let mut site = Site::new(&[with(policy, range)]);
        for number in 1..10 {
            let pieces = pieces(number, ("198.51.100.7", "10.200.0.77"), 55);
            let early = site.fate(&pieces[2]);
            let first = site.fate(&pieces[0]);
            assert!(first.is_ok());
            assert_eq!(early, if by_address { first } else { Err(FragmentUnmatched) });
            assert_eq!([&pieces[1], &pieces[2]].map(|piece| site.fate(piece)), [first; 2]);
        }
    }
}
