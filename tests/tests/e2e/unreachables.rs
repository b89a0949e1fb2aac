//! What others say of tunnels that do not get to their backend reaches the balancer's own stack, and
//! is understood there.

use std::{net::Ipv4Addr, os::fd::AsRawFd as _, time::Duration};

use lb_common::{checksum, forward::gue};
use lb_tests::address::{self, Family};
use lb_userspace::datapath::unreachables::{Code, Listener, Tunnel, Unreachable};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use tokio::{
    runtime,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::site::{
    PATIENCE, Site,
    client::send,
    config::{Config, Service},
    vip,
};

/// The balancer with a service whose backend takes nothing out of tunnels.
fn site(forward: &'static str, backend: Family) -> Site {
    let mut site = Site::new(1);
    let service = Service::udp("echo", vip(Family::V4)).forwarded(forward);
    site.start(&Config::of([service.to(backend, 1..=1)]));
    site.until_all_are("up");
    site
}

/// The first that the balancer's host hears of tunnels, while `provoke` is called now and then.
fn heard(site: &Site, provoke: impl Fn() + Sync) -> Option<Unreachable> {
    let listen = async {
        let (sender, mut events) = mpsc::channel(8);
        let listener = Listener::open(gue::PORT).expect("the test may listen");
        let running = tokio::spawn(listener.run(sender));
        let repeat = async {
            loop {
                provoke();
                sleep(Duration::from_millis(200)).await;
            }
        };
        let event = tokio::select! {
            event = timeout(PATIENCE, events.recv()) => event.ok().flatten(),
            () = repeat => None,
        };
        drop(events);
        running.await.expect("no panic").expect("it ends with its receiver");
        event
    };
    site.topology.balancer.enter(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(listen)
    })
}

/// Sends an ICMP message from the balancer's host to itself which says that a tunnel's packet, from
/// an address to another one, did not reach its host.
fn forge(ours: Ipv4Addr, backend: Ipv4Addr) {
    const INNER: [u8; 8] = [0x45, 0, 0, 40, 0, 0, 0x40, 0];

    let outer = [0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 4, 0, 0];
    let quoted = [&outer[..], &ours.octets(), &backend.octets(), &INNER].concat();
    let mut message = [&[3, 1, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
    let sum = !checksum::sum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let (family, flags) = (AddressFamily::Inet, SockFlag::SOCK_CLOEXEC);
    let sender = socket(family, SockType::Raw, flags, SockProtocol::Icmp).expect("root may");
    let to = SockaddrIn::new(127, 0, 0, 1, 0);
    sendto(sender.as_raw_fd(), &message, &to, MsgFlags::empty()).expect("there is a loopback");
}

/// Errors come to whoever sent what they quote.
#[test]
fn an_error_about_a_packet_of_somebody_elses_is_not_heard() {
    let site = Site::new(1);
    let [stranger, own, backend] =
        [[10, 9, 9, 9], [127, 0, 0, 1], [10, 0, 1, 11]].map(Ipv4Addr::from);
    let event = heard(&site, || {
        forge(stranger, backend);
        forge(own, backend);
    });
    assert_eq!(event.map(|event| event.ours), Some(own.into()));
}

#[test]
fn a_backend_that_does_not_know_the_tunnel_is_heard() {
    for (forward, family, tunnel, code) in [
        ("ipip", Family::V4, Tunnel::Ipip, Code::Protocol),
        ("ipip", Family::V6, Tunnel::Ipip, Code::Protocol),
        ("gue", Family::V4, Tunnel::Udp(gue::PORT), Code::Port),
        ("gue", Family::V6, Tunnel::Udp(gue::PORT), Code::Port),
    ] {
        let site = site(forward, family);
        let event = heard(&site, || {
            send(&site.topology.client, 20_000, vip(Family::V4), 100);
        });
        let [ours, backend] = [address::balancer(family), address::backend(family, 1)];
        let inner = Some(address::service(Family::V4, 1));
        let expected = Unreachable { ours, backend, tunnel, inner, code };
        assert_eq!(event, Some(expected), "{forward} {family}");
    }
}
