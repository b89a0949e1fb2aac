//! A name server as a backend: dnsmasq, over UDP and TCP.

use nix::sys::signal::Signal;

use super::{
    check, config,
    servers::{self, NAMES, put},
    until_down, until_up,
};
use crate::site::Site;

/// The service that asks over UDP, and the one that asks over TCP.
const BOTH: [&str; 2] = ["udp", "tcp"];

fn keys(transport: &str) -> String {
    format!(
        "port = 53\ntransport = \"{transport}\"\nquery = \"www.lab.test\"\nrecord = \"A\"\n\
         answer = \"^192\\\\.0\\\\.2\\\\.\""
    )
}

#[test]
fn a_name_server_is_judged_by_its_answer() {
    let mut site = Site::new(1);
    let dnsmasq = servers::dnsmasq(site.topology.backend(1));
    // Nobody has told it whom to ask for others.
    let other = "port = 53\nquery = \"www.other.test\"\nrecord = \"A\"";
    site.start(&config(
        BOTH.map(|transport| (transport, check("dns", &keys(transport))))
            .into_iter()
            .chain([("other", check("dns", other))]),
    ));
    let serve = |names: &str| {
        put(site.topology.backend(1), NAMES, names);
        dnsmasq.signal(Signal::SIGHUP);
    };
    let until_both_are_down = |why: &str, code: &str| {
        BOTH.into_iter().for_each(|service| until_down(&site, service, why, code));
    };

    until_both_are_down("answered NXDOMAIN", "L7STS");
    until_down(&site, "other", "answered REFUSED", "L7STS");
    serve("192.0.2.7 www.lab.test\n");
    until_up(&site, &BOTH);
    serve("198.51.100.7 www.lab.test\n");
    until_both_are_down("answered 198.51.100.7, expected ^192", "L7RSP");
    serve("198.51.100.7 www.lab.test\n192.0.2.8 www.lab.test\n");
    until_up(&site, &BOTH);
    // The name is there, but not with such a record.
    serve("fd00::7 www.lab.test\n");
    until_both_are_down("answered nothing, expected ^192", "L7RSP");
    serve("192.0.2.9 www.lab.test\n");
    until_up(&site, &BOTH);

    dnsmasq.signal(Signal::SIGSTOP);
    until_both_are_down("no answer within 200 ms", "L7TOUT");
    dnsmasq.signal(Signal::SIGCONT);
    until_up(&site, &BOTH);
    dnsmasq.kill();
    until_down(&site, "tcp", "connect was refused", "L4CON");
    // Machines tell about closed ports of UDP once a second at most.
    until_down(&site, "udp", "no answer", "L7TOUT");
}
