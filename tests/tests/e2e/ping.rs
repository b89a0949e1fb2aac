//! Echo requests to services' addresses.

use std::net::SocketAddr;

use lb_tests::address::{self, Family};

use crate::{
    passing::ping,
    site::{
        Site,
        config::{Config, Service},
        vip,
    },
};

/// A service in each family.
fn services(ping: &str) -> Vec<Service> {
    let service = |family: Family| {
        let line = format!("ping = \"{ping}\"");
        Service::tcp(&format!("tcp-{family}"), vip(family)).to(family, 1..=1).key(&line)
    };
    Family::ALL.map(service).into()
}

#[test]
fn the_balancer_answers_for_services_that_ask_it_to_and_for_no_other_address() {
    for mode in ["native", "generic"] {
        let config = Config::of(services("answer")).set("xdp_mode", &format!("\"{mode}\""));
        let site = Site::running(1, &config);
        let client = &site.topology.client;
        for family in Family::ALL {
            for _ in 0..20 {
                ping(client, vip(family))
                    .unwrap_or_else(|error| panic!("{mode}, {family}: {error}"));
            }
            // Nobody has this one.
            let other = SocketAddr::new(address::service(family, 9), 0);
            ping(client, other).expect_err("no service is there");
        }
        let answered = [("reason", "echo_answered")];
        assert_eq!(site.metrics().sum("lb_xdp_packets_total", &answered), 40, "{mode}");
    }
}

/// Backends have the address themselves.
#[test]
fn a_backend_answers_for_services_that_leave_it_to_them() {
    for forward in ["l2", "ipip", "gue"] {
        let services = services("backend").into_iter().map(|service| service.forwarded(forward));
        let site = Site::running(1, &Config::of(services));
        for family in Family::ALL {
            ping(&site.topology.client, vip(family))
                .unwrap_or_else(|error| panic!("{forward}, {family}: {error}"));
        }
        let answered = [("reason", "echo_answered")];
        assert_eq!(site.metrics().sum("lb_xdp_packets_total", &answered), 0, "{forward}");
    }
}

#[test]
fn by_default_echo_requests_pass() {
    let site = Site::running(1, &Config::of(services("pass")));
    for family in Family::ALL {
        ping(&site.topology.client, vip(family)).expect_err("the machine has no such address");
    }
    assert_eq!(site.metrics().sum("lb_xdp_packets_total", &[("reason", "echo_answered")]), 0);
}
