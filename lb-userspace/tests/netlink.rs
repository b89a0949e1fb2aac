//! Ways, interfaces and addresses in the kernel's own network. Needs root.

#[path = "netlink/namespace.rs"]
mod namespace;

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    time::{Duration, Instant},
};

use lb_userspace::{
    netlink::{
        Fault, InterfaceProblem, Neighbours, Via, Way, WayEvent, XdpAttachMode, interface,
        local_addresses, resolve_once, watch_local_addresses,
    },
    objects,
};
use tokio::{
    sync::mpsc::{Receiver, channel},
    time::{sleep, timeout},
};

use self::namespace::{Cable, FAR, NEAR, Namespace};

/// The promise, for what the kernel itself knows at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// For what a probe finds out, twice what it takes at most.
const PROBED: Duration = Duration::from_secs(2);
/// For what takes the kernel some seconds.
const IN_TIME: Duration = Duration::from_secs(10);

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn addresses<const N: usize>(texts: [&str; N]) -> BTreeSet<IpAddr> {
    texts.map(address).into()
}

/// Where packets would come in.
fn attached() -> BTreeSet<String> {
    ["eth0".to_owned()].into()
}

/// Runs `work` inside a namespace, on a runtime of its own.
fn block_on<T: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let bounded = async { timeout(Duration::from_secs(60), work()).await };
        runtime.expect("a runtime").block_on(bounded).expect("the test ends in a minute")
    })
}

/// Watches, and waits until something is said of each address.
async fn watch<const N: usize>(
    texts: [&str; N],
) -> (Neighbours, Receiver<WayEvent>, Vec<WayEvent>) {
    let (sender, mut events) = channel(16);
    let neighbours = Neighbours::start(attached(), sender).expect("netlink sockets");
    neighbours.watch(addresses(texts));
    let mut first = Vec::new();
    for _ in texts {
        first.push(next(&mut events, IN_TIME).await);
    }
    first.sort_by_key(|event| event.address);
    (neighbours, events, first)
}

async fn next<T>(events: &mut Receiver<T>, within: Duration) -> T {
    timeout(within, events.recv())
        .await
        .unwrap_or_else(|_| panic!("an event within {within:?}"))
        .expect("the task runs")
}

fn way(event: WayEvent) -> Way {
    event.way.unwrap_or_else(|fault| panic!("{}: {fault}", event.address))
}

fn fault(event: WayEvent) -> Fault {
    event.way.expect_err("a fault")
}

#[test]
fn finds_neighbours_of_both_families() {
    let cable = Cable::new();
    let [four, six]: [Way; 2] = block_on(&cable.near, async || {
        let (_neighbours, _events, first) = watch(["10.0.0.2", "fd00::2"]).await;
        let ways: Vec<Way> = first.into_iter().map(way).collect();
        ways.try_into().expect("two ways")
    });
    let index = four.interface;
    for (way, source) in [(four, "10.0.0.1"), (six, "fd00::1")] {
        let expected = Way {
            via: Via::Direct,
            source: address(source),
            interface: index,
            interface_name: "eth0".into(),
            vlan: None,
            mtu: 1500,
            destination: FAR,
            link_source: NEAR,
        };
        assert_eq!(way, expected);
    }
}

#[test]
fn knows_gateways_and_routes_that_lead_nowhere() {
    let cable = Cable::new();
    cable.near.ip("route add 192.0.2.0/24 via 10.0.0.2 mtu 1400\n\
         route add 198.51.100.0/24 via inet6 fd00::2\n\
         route add 203.0.113.0/24 nexthop via 10.0.0.2 nexthop via 10.0.0.3\n\
         route add 2001:db8::/64 via fd00::2\n\
         route add blackhole 192.0.3.0/24\n\
         route add prohibit 2001:db8:1::/64\n\
         route add unreachable 192.0.4.0/24\n");
    let far_away = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "203.0.113.2", "2001:db8::1"];
    let nowhere =
        ["192.0.3.1", "192.0.4.1", "8.8.8.8", "2001:db8:1::1", "2001:db8:2::1", "10.0.0.255"];
    let all = far_away.iter().chain(&nowhere).chain(&["10.0.0.1", "fd00::1", "127.0.0.1"]);
    let all = all.map(|text| address(text)).collect();
    let ways = block_on(&cable.near, async || resolve_once(attached(), &all, IN_TIME).await);
    for text in far_away {
        let way = ways[&address(text)].as_ref().unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(way.destination, FAR, "{text}");
        assert_eq!(way.mtu, if text == "192.0.2.1" { 1400 } else { 1500 }, "{text}");
        let source = if way.source.is_ipv4() { "10.0.0.1" } else { "fd00::1" };
        assert_eq!(way.source, address(source), "{text}");
        let gateway = if matches!(text, "198.51.100.1" | "2001:db8::1") {
            ["fd00::2", "fd00::2"]
        } else {
            // Two paths lead to one of these networks.
            ["10.0.0.2", "10.0.0.3"]
        };
        let gateways = gateway.map(|gateway| Via::Gateway(address(gateway)));
        assert!(gateways.contains(&way.via), "{text}: {way:?}");
    }
    for text in nowhere {
        let way = &ways[&address(text)];
        assert!(matches!(way, Err(Fault::NoRoute(_))), "{text}: {way:?}");
        println!("{text}: {}", way.as_ref().expect_err("a fault"));
    }
    for text in ["10.0.0.1", "fd00::1", "127.0.0.1"] {
        let way = ways[&address(text)].as_ref().expect("a way to this machine");
        assert_eq!(*way, Way::here(address(text)), "{text}");
        assert_eq!(way.via, Via::Here, "{text}");
    }
    assert_eq!(ways.len(), all.len());
}

#[test]
fn follows_routes_that_come_and_go() {
    let cable = Cable::new();
    block_on(&cable.near, async || {
        let (_neighbours, mut events, first) = watch(["192.0.2.1"]).await;
        assert!(matches!(first[0].way, Err(Fault::NoRoute(_))), "{first:?}");
        cable.near.ip("route add 192.0.2.0/24 via 10.0.0.2");
        assert_eq!(way(next(&mut events, AT_ONCE).await).destination, FAR);
        cable.near.ip("route change 192.0.2.0/24 via 10.0.0.2 mtu 1300");
        assert_eq!(way(next(&mut events, AT_ONCE).await).mtu, 1300);
        cable.near.ip("address add 192.0.2.1/32 dev lo");
        assert_eq!(way(next(&mut events, AT_ONCE).await).via, Via::Here);
        cable.near.ip("address del 192.0.2.1/32 dev lo");
        assert_eq!(way(next(&mut events, AT_ONCE).await).mtu, 1300);
        cable.near.ip("route del 192.0.2.0/24");
        assert!(matches!(fault(next(&mut events, AT_ONCE).await), Fault::NoRoute(_)));
    });
}

#[test]
fn notices_a_new_hardware_address_at_once() {
    let cable = Cable::new();
    // Whoever takes over an address tells everybody: gratuitous ARP, unsolicited advertisement.
    cable.far.sysctl("ipv4/conf/eth0/arp_notify", "1");
    cable.far.sysctl("ipv6/conf/eth0/ndisc_notify", "1");
    block_on(&cable.near, async || {
        let (_neighbours, mut events, _) = watch(["10.0.0.2", "fd00::2"]).await;
        let begin = Instant::now();
        cable.far.ip("link set eth0 address 02:00:00:00:00:99");
        for _ in 0..2 {
            let event = next(&mut events, AT_ONCE).await;
            println!("{} has moved after {:?}", event.address, begin.elapsed());
            assert_eq!(way(event).destination, [2, 0, 0, 0, 0, 0x99]);
        }
    });
}

/// The kernel finds out when its questions to the old hardware address are not answered.
#[test]
fn a_silent_move_is_never_a_loss() {
    let cable = Cable::new();
    for (key, value) in [("delay_first_probe_time", "1"), ("retrans_time_ms", "100")] {
        cable.near.sysctl(&format!("ipv4/neigh/eth0/{key}"), value);
    }
    block_on(&cable.near, async || {
        let (_neighbours, mut events, _) = watch(["10.0.0.2"]).await;
        cable.far.ip("link set eth0 address 02:00:00:00:00:99");
        cable.near.ip("neighbour change 10.0.0.2 dev eth0 lladdr 02:00:00:00:00:02 nud probe");
        let moved = way(next(&mut events, AT_ONCE).await);
        assert_eq!(moved.destination, [2, 0, 0, 0, 0, 0x99]);
    });
}

/// Nothing but probes finds this out: the kernel does not know that its entry is used, so it never
/// asks on its own.
#[test]
fn probes_neighbours_on_its_own() {
    let cable = Cable::new();
    block_on(&cable.near, async || {
        let (_neighbours, mut events, _) = watch(["10.0.0.2", "fd00::2"]).await;
        // It is not to matter when between two probes it moves.
        for last in 0x91_u8..=0x95 {
            sleep(Duration::from_millis(130) * u32::from(last - 0x90)).await;
            let begin = Instant::now();
            cable.far.ip(&format!("link set eth0 address 02:00:00:00:00:{last:02x}"));
            for _ in 0..2 {
                let event = next(&mut events, PROBED).await;
                println!("{} was found elsewhere after {:?}", event.address, begin.elapsed());
                assert_eq!(way(event).destination, [2, 0, 0, 0, 0, last]);
            }
        }
    });
}

/// A probe must not make ordinary entries of what others look after.
#[test]
fn probes_leave_alone_what_others_keep() {
    let cable = Cable::new();
    cable.near.ip("neighbour add 10.0.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent\n\
         neighbour add 10.0.0.51 lladdr 02:00:00:00:00:51 dev eth0 nud noarp\n\
         neighbour add 10.0.0.52 lladdr 02:00:00:00:00:52 dev eth0 nud stale extern_learn\n");
    let before = cable.near.show("neighbour show to 10.0.0.48/29");
    block_on(&cable.near, async || {
        let all = ["10.0.0.2", "10.0.0.50", "10.0.0.51", "10.0.0.52"];
        let (_neighbours, mut events, _) = watch(all).await;
        // Long enough for several probes.
        let quiet = timeout(Duration::from_secs(6), events.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    });
    assert_eq!(cable.near.show("neighbour show to 10.0.0.48/29"), before);
}

/// Entries of others that do not say a hardware address yet are waited for, not made anew.
#[test]
fn leaves_alone_what_others_are_still_to_tell() {
    let cable = Cable::new();
    cable.near.ip("neighbour add 10.0.0.53 dev eth0 nud failed extern_learn\n\
         neighbour add 10.0.0.54 dev eth0 nud incomplete managed\n\
         neighbour add fd00::53 dev eth0 nud failed extern_learn\n\
         neighbour add fd00::54 dev eth0 nud incomplete managed\n");
    let all = ["10.0.0.53", "10.0.0.54", "fd00::53", "fd00::54"];
    block_on(&cable.near, async || {
        // Each is reported as missing, which takes several looks.
        let (_neighbours, mut events, first) = watch(all).await;
        assert!(first.iter().all(|event| event.way.is_err()), "{first:?}");
        for text in all {
            let entry = cable.near.show(&format!("neighbour show to {text}"));
            let mark = if text.ends_with('3') { "extern_learn" } else { "managed" };
            assert!(entry.contains(mark), "{text}: {entry}");
        }
        cable.near.ip("neighbour replace 10.0.0.53 lladdr 02:00:00:00:00:53 dev eth0 \
             nud reachable extern_learn");
        let told = next(&mut events, AT_ONCE).await;
        assert_eq!(told.address, address("10.0.0.53"));
        assert_eq!(way(told).destination, [2, 0, 0, 0, 0, 0x53]);
    });
}

#[test]
fn heals_a_flushed_neighbour_table_at_once() {
    let cable = Cable::new();
    block_on(&cable.near, async || {
        let (_neighbours, mut events, _) = watch(["10.0.0.2", "fd00::2"]).await;
        for round in 0..3 {
            let begin = Instant::now();
            cable.near.ip("neighbour flush dev eth0");
            for neighbour in ["10.0.0.2", "fd00::2"] {
                let is_known = || {
                    let entry = cable.near.show(&format!("neighbour show {neighbour}"));
                    entry.contains("lladdr 02:00:00:00:00:02")
                };
                while !is_known() {
                    assert!(begin.elapsed() < AT_ONCE, "round {round}: {neighbour} is missing");
                    sleep(Duration::from_millis(5)).await;
                }
                println!("round {round}: {neighbour} is back after {:?}", begin.elapsed());
            }
        }
        assert!(events.try_recv().is_err(), "packets had their way all the time");
    });
}

#[test]
fn reports_a_link_that_is_down_and_back() {
    let cable = Cable::new();
    block_on(&cable.near, async || {
        let (_neighbours, mut events, first) = watch(["10.0.0.2"]).await;
        cable.near.ip("link set eth0 down");
        let down = fault(next(&mut events, AT_ONCE).await);
        println!("down: {down}");
        cable.near.ip("link set eth0 up");
        let back = next(&mut events, AT_ONCE).await;
        assert_eq!([back], first[..]);

        cable.far.ip("link set eth0 down");
        // The kernel itself takes up to a second to tell.
        let no_carrier =
            Fault::Interface { name: "eth0".into(), problem: InterfaceProblem::NoCarrier };
        assert_eq!(fault(next(&mut events, IN_TIME).await), no_carrier);
        cable.far.ip("link set eth0 up");
        let back = next(&mut events, IN_TIME).await;
        assert_eq!([back], first[..]);

        cable.near.ip("link set eth0 mtu 1400");
        assert_eq!(way(next(&mut events, AT_ONCE).await).mtu, 1400);
    });
}

#[test]
fn reports_a_silent_neighbour_and_its_return() {
    let cable = Cable::new();
    cable.near.sysctl("ipv4/neigh/eth0/retrans_time_ms", "100");
    block_on(&cable.near, async || {
        let begin = Instant::now();
        let (_neighbours, mut events, first) = watch(["10.0.0.77"]).await;
        println!("given up after {:?}", begin.elapsed());
        let unresolved =
            Fault::Unresolved { next_hop: address("10.0.0.77"), interface_name: "eth0".into() };
        assert_eq!(first[0].way, Err(unresolved));
        // It is not to matter when in a second it comes up.
        for _ in 0..3 {
            sleep(Duration::from_millis(700)).await;
            let begin = Instant::now();
            cable.far.ip("address add 10.0.0.77/24 dev eth0");
            assert_eq!(way(next(&mut events, AT_ONCE).await).destination, FAR);
            println!("found after {:?}", begin.elapsed());
            cable.far.ip("address del 10.0.0.77/24 dev eth0");
            cable.near.ip("neighbour del 10.0.0.77 dev eth0");
            fault(next(&mut events, IN_TIME).await);
        }
    });
}

#[test]
fn patience_has_an_end() {
    let cable = Cable::new();
    let begin = Instant::now();
    let ways = block_on(&cable.near, async || {
        resolve_once(attached(), &addresses(["10.0.0.2", "10.0.0.77"]), Duration::from_millis(300))
            .await
    });
    let elapsed = begin.elapsed();
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    assert!(ways[&address("10.0.0.2")].is_ok());
    let silent = &ways[&address("10.0.0.77")];
    assert!(matches!(silent, Err(Fault::Unresolved { .. })), "{silent:?}");
}

#[test]
fn leaves_permanent_entries_permanent() {
    let cable = Cable::new();
    cable.near.ip("neighbour add 10.0.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent");
    let ways = block_on(&cable.near, async || {
        resolve_once(attached(), &addresses(["10.0.0.50"]), IN_TIME).await
    });
    let way = ways[&address("10.0.0.50")].as_ref().expect("a way");
    assert_eq!(way.destination, [2, 0, 0, 0, 0, 0x50]);
    let entry = cable.near.show("neighbour show 10.0.0.50");
    assert!(entry.contains("PERMANENT"), "{entry}");
}

#[test]
fn needs_one_capability() {
    let cable = Cable::new();
    let ways = cable.near.enter_as_network_admin(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let both = addresses(["10.0.0.2", "fd00::2"]);
        runtime.expect("a runtime").block_on(resolve_once(attached(), &both, IN_TIME))
    });
    assert!(ways.values().all(Result::is_ok), "{ways:?}");
}

#[test]
fn survives_more_events_than_fit() {
    let cable = Cable::new();
    cable.near.ip("route add 192.0.2.0/24 via 10.0.0.2");
    block_on(&cable.near, async || {
        let (_neighbours, mut events, first) = watch(["192.0.2.1"]).await;
        assert!(first[0].way.is_ok(), "{first:?}");
        // Nothing is read meanwhile, because this thread runs everything.
        let flood: String = (0..40_000)
            .map(|number| {
                let (high, low) = (number / 250, number % 250);
                format!("neighbour add 172.16.{high}.{low} lladdr 02:00:00:00:01:01 dev eth0\n")
            })
            .collect();
        cable.near.ip(&(flood + "route del 192.0.2.0/24\n"));
        let sockets = fs::read_to_string("/proc/thread-self/net/netlink").expect("a table");
        let column =
            |name| sockets.lines().next()?.split_whitespace().position(|head| head == name);
        let drops = column("Drops").expect("a column for losses");
        let has_losses = |line: &str| line.split_whitespace().nth(drops).is_some_and(|n| n != "0");
        assert!(sockets.lines().skip(1).any(has_losses), "the flood was too small:\n{sockets}");
        assert!(matches!(fault(next(&mut events, AT_ONCE).await), Fault::NoRoute(_)));
    });
}

#[test]
fn forgets_what_is_not_watched() {
    let cable = Cable::new();
    block_on(&cable.near, async || {
        let (neighbours, mut events, _) = watch(["10.0.0.2"]).await;
        neighbours.watch(addresses(["10.0.0.3"]));
        assert_eq!(next(&mut events, AT_ONCE).await.address, address("10.0.0.3"));
        neighbours.watch(BTreeSet::new());
        neighbours.watch(addresses(["10.0.0.3"]));
        let again = next(&mut events, AT_ONCE).await;
        assert_eq!(again.address, address("10.0.0.3"), "what is new again is said again");
        drop(neighbours);
        let end = timeout(AT_ONCE, events.recv()).await.expect("the task ends");
        assert_eq!(end, None);
    });
}

#[test]
fn describes_an_interface() {
    let cable = Cable::new();
    let describe = async |name: &str| interface(name).await.expect("an answer");
    block_on(&cable.near, async || {
        assert_eq!(describe("eth9").await, None);
        assert_eq!(describe("").await, None);
        assert_eq!(describe("a-name-that-is-too-long").await, None);
        let lo = describe("lo").await.expect("lo");
        assert_eq!((lo.mac, lo.mtu), (None, 65536));
        let eth0 = describe("eth0").await.expect("eth0");
        assert_eq!((eth0.mtu, eth0.mac, eth0.up, eth0.running), (1500, Some(NEAR), true, true));
        assert_eq!(eth0.xdp, None);
        for (mode, expected) in
            [("xdpgeneric", XdpAttachMode::Generic), ("xdpdrv", XdpAttachMode::Native)]
        {
            let object = tempfile::NamedTempFile::new().expect("a temporary file");
            fs::write(object.path(), objects::PASS).expect("writing it");
            let path = object.path().display();
            cable.near.ip(&format!("link set dev eth0 {mode} object {path} section xdp"));
            let xdp = describe("eth0").await.expect("eth0").xdp.expect("a program");
            assert_eq!(xdp.mode, expected);
            let shown = cable.near.show("link show dev eth0");
            assert!(shown.contains(&format!("prog/xdp id {} ", xdp.program_id)), "{shown}");
            cable.near.ip(&format!("link set dev eth0 {mode} off"));
        }
    });
}

#[test]
fn follows_local_addresses() {
    let cable = Cable::new();
    block_on(&cable.near, async || {
        let known = local_addresses().await.expect("an answer");
        let expected = addresses(["127.0.0.1", "::1", "10.0.0.1", "fd00::1"]);
        assert!(known.is_superset(&expected), "{known:?}");
        let mut sets = watch_local_addresses().expect("netlink sockets");
        assert_eq!(next(&mut sets, AT_ONCE).await, known);
        cable.near.ip("address add 192.0.2.9 peer 192.0.2.10 dev eth0");
        let with = next(&mut sets, AT_ONCE).await;
        assert_eq!(
            with.difference(&known).copied().collect::<BTreeSet<_>>(),
            addresses(["192.0.2.9"])
        );
        cable.near.ip("address del 192.0.2.9 peer 192.0.2.10 dev eth0");
        assert_eq!(next(&mut sets, AT_ONCE).await, known);
    });
}
