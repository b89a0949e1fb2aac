//! Echo requests to addresses of services.

use lb_common::{
    Verdict::{EchoAnswered, NoBackend, NotTransport, SourceDenied},
    service::{TCP, UDP},
};
use lb_tests::packets::{fixture::key, icmp};
use lb_userspace::datapath::desired::DesiredPing;

use super::{
    DesiredPolicy, DesiredService, FIRST, Kind, SECOND, Site, parsed, prefix_key, service, source,
    with,
};

const VIPS: [(&str, &str); 2] =
    [("198.51.100.7:9", "10.200.0.1"), ("[2001:db8::7]:9", "fd00:200::1")];

fn request((client, vip): (&str, &str)) -> Vec<u8> {
    icmp::echo_request(client.parse().expect("a client"), parsed(vip), &[1; 56])
}

fn pinged(ping: Option<DesiredPing>, vip: &str, backends: &[Kind]) -> DesiredService {
    DesiredService { ping, ..service(key(vip, 80, TCP), backends) }
}

fn site(ping: Option<DesiredPing>, backends: &[Kind]) -> Site {
    Site::new(&VIPS.map(|(_, vip)| pinged(ping, vip, backends)))
}

#[test]
fn requests_pass_unless_a_service_says_otherwise() {
    for ping in [None, Some(DesiredPing::Pass)] {
        let mut site = site(ping, &[FIRST]);
        assert_eq!(VIPS.map(|ends| site.fate(&request(ends))), [Err(NotTransport); 2]);
    }
}

#[test]
fn an_address_that_answers_does_so_without_a_backend() {
    let mut site = site(Some(DesiredPing::Answer), &[]);
    assert_eq!(VIPS.map(|ends| site.fate(&request(ends))), [Err(EchoAnswered); 2]);
    let elsewhere = request(("198.51.100.7:9", "10.200.0.2"));
    assert_eq!(site.fate(&elsewhere), Err(NotTransport));
}

#[test]
fn backends_get_requests_as_they_get_packets() {
    let mut site = site(Some(DesiredPing::Backend), &[FIRST]);
    assert_eq!(VIPS.map(|ends| site.fate(&request(ends))), [Ok(FIRST); 2]);
    site.change(&VIPS.map(|(_, vip)| pinged(Some(DesiredPing::Backend), vip, &[])));
    assert_eq!(VIPS.map(|ends| site.fate(&request(ends))), [Err(NoBackend); 2]);
}

#[test]
fn the_policy_of_the_service_holds_for_requests_too() {
    let rules = [(source("198.51.100.7", 32), false)].into();
    let policy = DesiredPolicy { rules, ..DesiredPolicy::default() };
    let mut site =
        Site::new(&[with(policy, pinged(Some(DesiredPing::Backend), "10.200.0.1", &[FIRST]))]);
    assert_eq!(site.fate(&request(VIPS[0])), Err(SourceDenied));
    assert_eq!(site.fate(&request(("198.51.100.8:9", "10.200.0.1"))), Ok(FIRST));
}

#[test]
fn an_address_may_differ_from_its_prefix() {
    let everywhere = DesiredService {
        ping: Some(DesiredPing::Answer),
        ..service(prefix_key("10.200.0.0", 24, 0, TCP), &[FIRST])
    };
    let silent = DesiredService {
        ping: Some(DesiredPing::Pass),
        ..service(key("10.200.0.2", 53, UDP), &[FIRST])
    };
    let range = DesiredService {
        last_port: 90,
        key: key("10.200.0.3", 0, TCP).range_from(80),
        ..pinged(Some(DesiredPing::Backend), "10.200.0.3", &[SECOND])
    };
    let unsaid = pinged(None, "10.200.0.4", &[SECOND]);
    let mut site = Site::new(&[everywhere, silent, range, unsaid]);
    for (last, fate) in
        [(1, Err(EchoAnswered)), (2, Err(NotTransport)), (3, Ok(SECOND)), (4, Err(EchoAnswered))]
    {
        let vip = format!("10.200.0.{last}");
        assert_eq!(site.fate(&request(("198.51.100.7:9", &vip))), fate, "{vip}");
    }
}
