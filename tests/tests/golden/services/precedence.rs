//! The address before prefixes, of these the longest; in each the exact port, a range, every port.

use lb_common::{
    Verdict::NotService,
    service::{TCP, UDP},
};
use lb_tests::packets::{Segment, Shape, fixture::key};

use super::{DesiredService, FIFTH, FIRST, FOURTH, SECOND, Site, THIRD, prefix_key, service};

fn range(vip: &str, first: u16, last_port: u16, backend: super::Kind) -> DesiredService {
    let key = key(vip, 0, TCP).range_from(first);
    DesiredService { last_port, ..service(key, &[backend]) }
}

fn to(vip: &str) -> Shape {
    let client = if vip.starts_with('[') { "[2001:db8::7]:4000" } else { "198.51.100.7:4000" };
    Shape::tcp(client, vip, Segment::Syn)
}

#[test]
fn exact_ports_come_before_ranges_and_these_before_every_port() {
    for (vip, shown) in [("10.200.0.1", "10.200.0.1"), ("fd00:200::1", "[fd00:200::1]")] {
        let mut site = Site::new(&[
            service(key(vip, 85, TCP), &[FIRST]),
            range(vip, 80, 89, SECOND),
            range(vip, 100, 199, THIRD),
            service(key(vip, 0, TCP), &[FOURTH]),
        ]);
        for (port, backend) in [
            (79, FOURTH),
            (80, SECOND),
            (84, SECOND),
            (85, FIRST),
            (86, SECOND),
            (89, SECOND),
            (90, FOURTH),
            (99, FOURTH),
            (100, THIRD),
            (199, THIRD),
            (200, FOURTH),
            (0, FOURTH),
            (65_535, FOURTH),
        ] {
            assert_eq!(site.fate_of(&to(&format!("{shown}:{port}"))), Ok(backend), "{port}");
        }
        // Nothing of it is for another protocol.
        let udp =
            Shape::udp(&to(&format!("{shown}:85")).client.to_string(), &format!("{shown}:85"));
        assert_eq!(site.fate_of(&udp), Err(NotService));
    }
}

#[test]
fn the_address_comes_before_prefixes_and_of_these_the_longest_decides() {
    let mut site = Site::new(&[
        service(key("10.200.0.1", 80, TCP), &[FIRST]),
        service(prefix_key("10.200.0.0", 24, 80, TCP), &[SECOND]),
        DesiredService {
            last_port: 1999,
            ..service(prefix_key("10.200.0.0", 24, 0, TCP).range_from(1000), &[THIRD])
        },
        service(prefix_key("10.200.0.0", 16, 0, TCP), &[FOURTH]),
        service(prefix_key("fd00:200::", 48, 80, TCP), &[FIFTH]),
    ]);
    for (vip, fate) in [
        ("10.200.0.1:80", Ok(FIRST)),
        ("10.200.0.2:80", Ok(SECOND)),
        ("10.200.0.255:80", Ok(SECOND)),
        // The address has no service on this port, so its prefix decides.
        ("10.200.0.1:1500", Ok(THIRD)),
        // The longest prefix has none either, and no shorter one is asked.
        ("10.200.0.1:2000", Err(NotService)),
        ("10.200.1.0:2000", Ok(FOURTH)),
        ("10.200.255.255:80", Ok(FOURTH)),
        ("10.201.0.0:80", Err(NotService)),
        ("[fd00:200::1]:80", Ok(FIFTH)),
        ("[fd00:200:0:ffff::]:80", Ok(FIFTH)),
        ("[fd00:200:1::]:80", Err(NotService)),
    ] {
        assert_eq!(site.fate_of(&to(vip)), fate, "{vip}");
    }
}

#[test]
fn a_prefix_that_is_gone_leaves_its_addresses_to_the_next_shorter_one() {
    let wide = service(prefix_key("10.200.0.0", 16, 80, TCP), &[FIRST]);
    let narrow = service(prefix_key("10.200.0.0", 24, 80, UDP), &[SECOND]);
    let mut site = Site::new(&[wide.clone(), narrow]);
    assert_eq!(site.fate_of(&to("10.200.0.1:80")), Err(NotService));
    site.change(&[wide]);
    assert_eq!(site.fate_of(&to("10.200.0.1:80")), Ok(FIRST));
}

#[test]
fn two_ports_of_a_service_are_two_flows() {
    let mut site = Site::new(&[range("10.200.0.1", 1, 60_000, FIRST)]);
    let both = DesiredService {
        members: service(key("10.200.0.1", 0, TCP), &[FIRST, SECOND]).members,
        ..range("10.200.0.1", 1, 60_000, FIRST)
    };
    site.change(&[both]);
    let fates = (1..100).map(|port| site.fate_of(&to(&format!("10.200.0.1:{port}"))));
    let to_first = fates.filter(|fate| *fate == Ok(FIRST)).count();
    assert!((20..80).contains(&to_first), "{to_first} of 99 to one of two");
}
