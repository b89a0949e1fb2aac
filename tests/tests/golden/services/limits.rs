//! How many flows may begin.

use std::time::Duration;

use lb_common::{
    Verdict::{ServiceLimited, SourceLimited},
    service::{TCP, UDP},
};
use lb_tests::packets::{Segment, Shape, Transport, fixture::key};
use lb_userspace::datapath::policies::{DesiredUdp, FlowLimit};

use super::{DesiredPolicy, FIRST, Site, service, with};

/// So few in the long run that none comes back while the test runs.
const fn burst(burst: u32) -> Option<FlowLimit> {
    Some(FlowLimit { per_minute: 1, burst })
}

fn tcp(client: &str, port: u16) -> Shape {
    let vip = if client.contains("::") { "[fd00:200::1]:80" } else { "10.200.0.1:80" };
    let client = if client.contains("::") { format!("[{client}]") } else { client.to_owned() };
    Shape::tcp(&format!("{client}:{port}"), vip, Segment::Syn)
}

fn site(policy: &DesiredPolicy) -> Site {
    let services = ["10.200.0.1", "fd00:200::1"]
        .map(|vip| with(policy.clone(), service(key(vip, 80, TCP), &[FIRST])));
    Site::new(&services)
}

#[test]
fn flows_begin_until_the_burst_is_used_up_and_those_that_have_begun_go_on() {
    let mut site = site(&DesiredPolicy { limit: burst(5), ..DesiredPolicy::default() });
    for client in ["198.51.100.7", "2001:db8::7"] {
        for port in 1..=5 {
            assert_eq!(site.fate_of(&tcp(client, port)), Ok(FIRST), "{port}");
        }
        assert_eq!(site.fate_of(&tcp(client, 6)), Err(ServiceLimited));
        let later = Shape { transport: Transport::Tcp(Segment::Ack), ..tcp(client, 3) };
        assert_eq!(site.fate_of(&later), Ok(FIRST));
    }
}

#[test]
fn each_source_has_a_limit_of_its_own_over_ipv6_its_network() {
    let mut site = site(&DesiredPolicy { source_limit: burst(2), ..DesiredPolicy::default() });
    for client in ["198.51.100.7", "198.51.100.8", "2001:db8::7", "2001:db8:0:1::7"] {
        assert_eq!([1, 2].map(|port| site.fate_of(&tcp(client, port))), [Ok(FIRST); 2]);
        assert_eq!(site.fate_of(&tcp(client, 3)), Err(SourceLimited), "{client}");
    }
    assert_eq!(site.fate_of(&tcp("2001:db8::8", 1)), Err(SourceLimited), "of the same /64");
}

#[test]
fn who_is_over_its_own_limit_takes_nothing_of_what_all_have() {
    let mut site = site(&DesiredPolicy {
        limit: burst(3),
        source_limit: burst(2),
        ..DesiredPolicy::default()
    });
    let fates = [1, 2, 3, 4].map(|port| site.fate_of(&tcp("198.51.100.7", port)));
    assert_eq!(fates, [Ok(FIRST), Ok(FIRST), Err(SourceLimited), Err(SourceLimited)]);
    assert_eq!(site.fate_of(&tcp("198.51.100.8", 1)), Ok(FIRST));
    assert_eq!(site.fate_of(&tcp("198.51.100.8", 2)), Err(ServiceLimited));
}

#[test]
fn remembered_flows_of_udp_begin_once() {
    let udp = DesiredUdp::Remember(Duration::from_secs(600));
    let policy = DesiredPolicy { udp, limit: burst(2), ..DesiredPolicy::default() };
    let mut site = Site::new(&[with(policy, service(key("10.200.0.1", 53, UDP), &[FIRST]))]);
    let datagram = |port| Shape::udp(&format!("198.51.100.7:{port}"), "10.200.0.1:53");
    for port in [1, 2, 1, 2, 1] {
        assert_eq!(site.fate_of(&datagram(port)), Ok(FIRST));
    }
    assert_eq!(site.fate_of(&datagram(3)), Err(ServiceLimited));
    assert_eq!(site.fate_of(&datagram(1)), Ok(FIRST));
}
