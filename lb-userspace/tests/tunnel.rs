//! Checks through tunnels, in the kernel's own network. Needs root.

#[path = "tunnel/far_end.rs"]
mod far_end;
#[path = "netlink/namespace.rs"]
#[expect(dead_code, reason = "shared with tests of other topics")]
mod namespace;
#[path = "tunnel/world.rs"]
mod world;

use std::{
    net::{SocketAddr, UdpSocket},
    slice,
    time::Duration,
};

use lb_common::Forward;
use lb_userspace::{
    health::{CheckFailure, Checker, Target, TunnelCounts, TunnelPath},
    model::{HealthCheck, Probe, UdpProbe},
};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use tokio::{sync::mpsc, time::sleep};

use self::{
    far_end::{FarEnd, Outer},
    namespace::Cable,
    world::{
        BACKEND, LIMIT, VIP, address, block_on, check_tcp, check_udp, serve, settled,
        wait_for_route, world,
    },
};

const GUE_PORT: u16 = 6080;

#[test]
fn every_kind_of_tunnel_leads_to_the_service() {
    let world = world();
    let far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        for (backend, source) in [(BACKEND[0], "10.0.0.1"), (BACKEND[1], "fd00::1")] {
            for (vip, inner) in [(VIP[0], 4), (VIP[1], 41)] {
                for (forward, gue) in
                    [(Forward::Ipip, None), (Forward::Gue, Some([0, inner, 0, 0]))]
                {
                    let expected = Outer { source: address(source), inner, gue };
                    for port in [
                        check_tcp(&*tunnels, backend, forward, vip).await,
                        check_udp(&*tunnels, backend, forward, vip).await,
                    ] {
                        let port = port
                            .unwrap_or_else(|error| panic!("{backend} {forward:?} {vip}: {error}"));
                        assert_eq!(far_end.seen(port), slice::from_ref(&expected));
                    }
                }
            }
        }
        let counts = path.counts();
        assert!(counts.sent > 0 && counts.refused == 0 && counts.strange == 0, "{counts:?}");
        path.close().await.expect("closed");
    });
}

#[test]
fn a_backend_that_opens_no_tunnel_fails() {
    let world = world();
    serve(&world.far);
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        for (backend, vip) in BACKEND.into_iter().zip(VIP) {
            for forward in [Forward::Ipip, Forward::Gue] {
                let error = check_tcp(&*path.tunnels(), backend, forward, vip).await;
                assert!(error.is_err(), "{backend} {forward:?}");
            }
            // Which a check of its own address does not find out.
            tokio::net::TcpStream::connect((address(backend), 80)).await.expect("it listens");
        }
        assert!(path.counts().sent >= 4);
        path.close().await.expect("closed");
    });
}

#[test]
fn a_backend_without_the_service_address_fails() {
    let world = world();
    world.far.ip("address del 192.0.2.1/32 dev lo\naddress del 2001:db8::1/128 dev lo\n");
    let far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        for vip in VIP {
            let error = check_tcp(&*path.tunnels(), BACKEND[0], Forward::Ipip, vip).await;
            assert!(error.is_err(), "{vip}");
        }
        assert!(far_end.has_seen_packets(), "the tunnels were opened");
        path.close().await.expect("closed");
    });
}

/// `SO_BINDTODEVICE` needs no capability.
#[test]
fn others_cannot_send_through_the_tunnels() {
    let world = world();
    let far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        let check = check_udp(&*tunnels, BACKEND[0], Forward::Ipip, VIP[0]);
        let port = check.await.expect("passes");
        let before = path.counts();
        // From the check's own port, as it is closed, to whatever is behind the tunnel; and from
        // another one to the service.
        for (port, remote) in [
            (port, (VIP[0], 81)),
            (port, ("10.0.0.3", 80)),
            (port, ("127.0.0.1", 80)),
            (port ^ 1, (VIP[0], 80)),
        ] {
            let socket = UdpSocket::bind(("10.0.0.1", port)).expect("a free port");
            let device = path.device();
            setsockopt(&socket, sockopt::BindToDevice, &device.into()).expect("anybody may");
            socket.send_to(b"boo", remote).expect("sent");
        }
        let expected = TunnelCounts { strange: before.strange + 4, ..before };
        until(|| path.counts() == expected, "they are dropped").await;
        // An exit is closed when its check is over, and a second has passed.
        sleep(LIMIT + Duration::from_secs(1)).await;
        check_again_from(port, &path);
        let expected = TunnelCounts { strange: before.strange + 5, ..before };
        until(|| path.counts() == expected, "it is dropped").await;
        assert_eq!(far_end.seen(port).len(), 1);
        path.close().await.expect("closed");
    });
}

/// What a check has sent before, without its mark.
fn check_again_from(port: u16, path: &TunnelPath) {
    let socket = UdpSocket::bind(("10.0.0.1", port)).expect("a free port");
    setsockopt(&socket, sockopt::BindToDevice, &path.device().into()).expect("anybody may");
    socket.send_to(b"ping", (VIP[0], 80)).expect("sent");
}

/// Waits for what must come about soon; the number says only when to give up.
async fn until(is_so: impl Fn() -> bool, what: &str) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not yet: {what}");
}

/// Over IPv6, firewalls that reject say that it is forbidden, with the same error number as rules of
/// this machine.
#[test]
fn who_forbids_a_connection_matters() {
    let world = world();
    world.far.sysctl("ipv6/conf/all/forwarding", "1");
    world.far.ip("route add prohibit 2001:db8:9::/64\n");
    world.near.ip("route add prohibit 2001:db8:a::/64\n");
    block_on(&world.near, async || {
        let by_network = CheckFailure::Unreachable(Errno::EACCES);
        let here = CheckFailure::Local(Errno::EACCES);
        for probe in [Probe::Tcp, Probe::Udp(UdpProbe::default())] {
            for (host, expected) in [("2001:db8:9::1", &by_network), ("2001:db8:a::1", &here)] {
                let outcome = outcome(&probe, SocketAddr::new(address(host), 80)).await;
                assert_eq!(outcome.as_ref(), Err(expected), "{probe:?} {host}");
            }
        }
    });
}

/// The first answer of a network without any way to go may come before the socket hears it; the
/// second one comes a second later.
async fn outcome(probe: &Probe, destination: SocketAddr) -> Result<Duration, CheckFailure> {
    let (results, mut found) = mpsc::channel(1);
    let mut checker = Checker::new(results, mpsc::channel(1).0);
    checker.reconcile(vec![Target {
        backend: format!("web/{}", destination.ip()).parse().expect("a name"),
        generation: 1,
        check: HealthCheck {
            timeout: Duration::from_secs(10),
            ..HealthCheck::new(probe.clone(), destination.port())
        },
        destination,
        tunnel: None,
    }]);
    found.recv().await.expect("a result").outcome
}

#[test]
fn tunnels_come_from_the_given_prefix() {
    let world = world();
    let far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    block_on(&world.near, async || {
        let sources = ["10.1.255.0/24", "2001:db8:ff::/112"];
        let sources = sources.map(|prefix| prefix.parse().expect("a prefix"));
        let path = TunnelPath::open(GUE_PORT, &sources).expect("a path");
        for (backend, source) in BACKEND.into_iter().zip(["10.1.255.0", "2001:db8:ff::"]) {
            for forward in [Forward::Ipip, Forward::Gue] {
                let checked = check_tcp(&*path.tunnels(), backend, forward, VIP[0]).await;
                let port = checked.unwrap_or_else(|error| panic!("{backend} {forward:?}: {error}"));
                let seen = far_end.seen(port);
                assert!(
                    !seen.is_empty() && seen.iter().all(|outer| outer.source == address(source)),
                    "{seen:?}"
                );
            }
        }
        path.close().await.expect("closed");
    });
}

#[test]
fn two_paths_keep_out_of_each_others_way_and_leave_nothing() {
    let world = world();
    let before = settled(&world.near);
    let _far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    block_on(&world.near, async || {
        let first = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let second = TunnelPath::open(GUE_PORT, &[]).expect("another");
        assert_eq!((first.device().as_str(), second.device().as_str()), ("lbcheck0", "lbcheck1"));
        let old = first.tunnels();
        for path in [&first, &second] {
            check_tcp(&*path.tunnels(), BACKEND[0], Forward::Ipip, VIP[0]).await.expect("passes");
            assert!(path.counts().sent > 0);
        }
        first.close().await.expect("closed");
        assert!(old.to(address(BACKEND[0]), Forward::Ipip, address(VIP[0])).is_err());
        check_tcp(&*second.tunnels(), BACKEND[0], Forward::Gue, VIP[1]).await.expect("passes");
        let again = TunnelPath::open(GUE_PORT, &[]).expect("in the first one's place");
        assert_eq!(again.device(), "lbcheck0");
        check_tcp(&*again.tunnels(), BACKEND[1], Forward::Gue, VIP[0]).await.expect("passes");
        drop((second, again));
        // The device goes with the task, which has to have its turn.
        sleep(Duration::from_millis(10)).await;
    });
    assert_eq!(settled(&world.near), before);
}

#[test]
fn rules_that_a_crash_left_are_not_doubled() {
    let world = world();
    let before = settled(&world.near);
    for family in ["-4", "-6"] {
        for (mark, table) in [("0x3000", "12288"), ("0x3010", "12304")] {
            for command in [
                format!("{family} rule add pref 5 fwmark {mark} lookup {table}"),
                format!("{family} rule add pref 6 fwmark {mark} prohibit"),
            ] {
                world.near.show(&command);
            }
        }
    }
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        for family in ["-4", "-6"] {
            let rules = world.near.show(&format!("{family} rule"));
            assert_eq!(rules.matches("fwmark 0x3000 lookup 12288").count(), 1, "{rules}");
            assert_eq!(rules.matches("fwmark").count(), 2, "{rules}");
        }
        path.close().await.expect("closed");
    });
    assert_eq!(settled(&world.near), before);
}

#[test]
fn what_others_remove_is_made_again() {
    let world = world();
    let _far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        // The guard listens from its first turn on.
        sleep(Duration::from_millis(200)).await;
        for command in ["rule del pref 5", "rule del pref 6", "-6 rule del pref 5"] {
            world.near.show(command);
            for _ in 0..40 {
                sleep(Duration::from_millis(25)).await;
                let rules = world.near.show("rule") + &world.near.show("-6 rule");
                if rules.matches("fwmark 0x3000").count() == 4 {
                    break;
                }
            }
            let rules = world.near.show("rule") + &world.near.show("-6 rule");
            assert_eq!(rules.matches("fwmark 0x3000").count(), 4, "after {command}: {rules}");
            for vip in VIP {
                let checked = check_tcp(&*tunnels, BACKEND[0], Forward::Ipip, vip).await;
                checked.unwrap_or_else(|error| panic!("{command}: {vip}: {error}"));
            }
        }
        // No way at all, rather than the ordinary way to any backend.
        world.near.show("route flush table 12288");
        let error = check_tcp(&*tunnels, BACKEND[0], Forward::Ipip, VIP[0]).await;
        let error = error.expect_err("prohibited").to_string();
        assert!(error.contains("Permission denied"), "{error}");
        for _ in 0..100 {
            if check_tcp(&*tunnels, BACKEND[0], Forward::Ipip, VIP[0]).await.is_ok() {
                return path.close().await.expect("closed");
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("the route is not made again");
    });
}

#[test]
fn a_device_that_is_removed_is_no_backends_fault() {
    let world = world();
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        world.near.show("link del lbcheck0");
        sleep(Duration::from_millis(50)).await;
        let error = tunnels.to(address(BACKEND[0]), Forward::Ipip, address(VIP[0]));
        let error = error.expect_err("no way").to_string();
        assert!(error.contains("lbcheck0 is gone"), "{error}");
        assert!(path.fault().is_some_and(|fault| error.contains(&fault)));
        path.close().await.expect("closed");
    });
}

/// As in many containers.
#[test]
fn where_new_devices_have_no_ipv6_the_rest_works() {
    let world = world();
    let _far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    world.near.sysctl("ipv6/conf/default/disable_ipv6", "1");
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        for backend in BACKEND {
            let checked = check_tcp(&*tunnels, backend, Forward::Gue, VIP[0]).await;
            checked.unwrap_or_else(|error| panic!("{backend}: {error}"));
            let error = check_tcp(&*tunnels, backend, Forward::Gue, VIP[1]).await;
            let error = error.expect_err("no IPv6 inside").to_string();
            assert!(error.contains("2001:db8::1 needs IPv6"), "{error}");
        }
        path.close().await.expect("closed");
    });
}

/// The rule for own addresses comes first, and packets for them never leave.
#[test]
fn an_own_service_address_is_refused_unless_its_rule_is_moved() {
    let world = world();
    let _far_end = FarEnd::open(&world.far, GUE_PORT);
    serve(&world.far);
    world.near.ip("address add 192.0.2.1/32 dev lo\naddress add 2001:db8::1/128 dev lo nodad\n");
    wait_for_route(&world.near, "local 2001:db8::1 dev lo");
    block_on(&world.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        for vip in VIP {
            let error = tunnels.to(address(BACKEND[0]), Forward::Ipip, address(vip));
            let error = error.expect_err("no way").to_string();
            assert!(error.contains("is an address of this machine"), "{error}");
        }
        for family in ["-4", "-6"] {
            world.near.show(&format!("{family} rule add pref 100 lookup local"));
            world.near.show(&format!("{family} rule del pref 0"));
        }
        for (vip, accept_local) in [(VIP[1], "0"), (VIP[0], "1")] {
            world.near.sysctl("ipv4/conf/eth0/accept_local", accept_local);
            for backend in BACKEND {
                let checked = check_tcp(&*tunnels, backend, Forward::Ipip, vip).await;
                checked.unwrap_or_else(|error| panic!("{vip} at {backend}: {error}"));
            }
        }
        path.close().await.expect("closed");
    });
}

#[test]
fn this_machine_as_a_backend_needs_no_tunnel_but_the_address() {
    let cable = Cable::new();
    serve(&cable.near);
    block_on(&cable.near, async || {
        let path = TunnelPath::open(GUE_PORT, &[]).expect("a path");
        let tunnels = path.tunnels();
        let own = ["10.0.0.1", "fd00::1"];
        for (own, vip) in own.into_iter().zip(VIP) {
            let error = check_tcp(&*tunnels, own, Forward::Ipip, vip).await;
            assert!(error.is_err(), "without {vip}");
        }
        cable.near.ip("address add 192.0.2.1 dev lo\naddress add 2001:db8::1 dev lo nodad\n");
        wait_for_route(&cable.near, "local 2001:db8::1 dev lo");
        for (own, vip) in own.into_iter().zip(VIP) {
            check_tcp(&*tunnels, own, Forward::Ipip, vip).await.expect("passes");
        }
        assert_eq!(path.counts().sent, 0);
        path.close().await.expect("closed");
    });
}
