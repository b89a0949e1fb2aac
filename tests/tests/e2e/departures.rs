//! What becomes of flows whose backend drains, fails or is removed: each rule, with real clients.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use lb_tests::{
    Server,
    address::{self, Family},
};

use crate::site::{
    Site,
    client::{Connection, ask_tcp, ask_udp},
    config::{Config, Service},
    second_vip, vip,
};

const FAMILY: Family = Family::V4;
const GONE: &str = "web/10.0.1.11";
/// How a backend stops taking new flows, and how it comes back.
const EVENTS: [(Event, &str); 4] = [
    (Event::Drain, "drained"),
    (Event::Maint, "taken out"),
    (Event::Fail, "failed"),
    (Event::Remove, "removed"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Drain,
    Maint,
    Fail,
    Remove,
}

/// All rules the same, and these lines besides.
fn rules(rule: &str, lines: &str) -> String {
    format!("on_drain = \"{rule}\"\non_down = \"{rule}\"\non_remove = \"{rule}\"\n{lines}")
}

/// A service with three backends, checked often.
fn config(service: Service, lines: &str) -> Config {
    let check = "type = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\nrise = 1\nfall = 2";
    Config::of([service.key(lines).table("health_check", check).to(FAMILY, 1..=3)])
}

fn web(lines: &str) -> Config {
    config(Service::tcp("web", vip(FAMILY)), lines)
}

fn echo(lines: &str) -> Config {
    config(Service::udp("web", vip(FAMILY)), &format!("udp_flows = \"remember\"\n{lines}"))
}

/// Checks go unanswered, clients do not.
fn silence(site: &Site, verb: &str) {
    let route = format!("blackhole {}/32", address::balancer(FAMILY));
    site.topology.backend(1).ip(&format!("route {verb} {route}")).unwrap();
}

fn happen(site: &Site, event: Event) {
    match event {
        Event::Drain => drop(site.ask(&["backend", "drain", GONE])),
        Event::Maint => drop(site.ask(&["backend", "maint", GONE])),
        Event::Fail => {
            silence(site, "add");
            site.until_is(GONE, "down");
        }
        Event::Remove => drop(site.ask(&["backend", "remove", GONE])),
    }
}

fn undo(site: &Site, event: Event) {
    match event {
        Event::Drain | Event::Maint => drop(site.ask(&["backend", "ready", GONE])),
        Event::Fail => silence(site, "del"),
        Event::Remove => drop(site.ask(&["backend", "add", GONE])),
    }
    site.until_is(GONE, "up");
}

/// Connections from these ports that the first backend serves.
fn connections(site: &Site, ports: std::ops::Range<u16>) -> Vec<Connection> {
    let open = |port| {
        let mut connection = Connection::open(&site.topology.client, port, vip(FAMILY)).unwrap();
        (connection.who().unwrap() == "be1").then_some(connection)
    };
    let open: Vec<_> = ports.filter_map(open).collect();
    assert!(open.len() > 3, "{} connections", open.len());
    open
}

/// Packets whose clients were told that their flow is over.
fn told(site: &Site) -> u64 {
    site.metrics().sum("lb_xdp_packets_total", &[("reason", "flow_over_told")])
}

fn expect_none_new(site: &Site, first: u16, when: &str) {
    for port in first..first + 30 {
        assert_ne!(ask_tcp(&site.topology.client, port, vip(FAMILY)).unwrap(), "be1", "{when}");
    }
}

#[test]
fn connections_are_kept_whatever_happens_to_their_backend() {
    let site = Site::running(3, &web(&rules("keep", "")));
    for (round, (event, how)) in EVENTS.into_iter().enumerate() {
        let first = 10_000 + 1000 * round as u16;
        let mut kept = connections(&site, first..first + 30);
        happen(&site, event);
        expect_none_new(&site, first + 100, how);
        for connection in &mut kept {
            assert_eq!(connection.who().unwrap(), "be1", "{how}");
        }
        let shown = site.json(&["service", "show", "web"])["services"][0]["departed"].clone();
        assert_eq!(shown.as_array().map(Vec::len), Some(usize::from(event == Event::Remove)));
        // It is the same backend when it is back, also to those that began before.
        undo(&site, event);
        for connection in &mut kept {
            assert_eq!(connection.who().unwrap(), "be1", "back after it was {how}");
        }
    }
    assert_eq!(told(&site), 0);
}

#[test]
fn connections_are_reset_at_once_where_that_is_asked_for() {
    let site = Site::running(3, &web(&rules("reset", "")));
    for (round, (event, how)) in EVENTS.into_iter().enumerate() {
        let first = 10_000 + 1000 * round as u16;
        let mut lost = connections(&site, first..first + 30);
        let before = told(&site);
        happen(&site, event);
        expect_none_new(&site, first + 100, how);
        for connection in &mut lost {
            let error = connection.who().expect_err(how);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{how}: {error}");
        }
        assert!(told(&site) >= before + lost.len() as u64, "{how}: the balancer tells them");
        undo(&site, event);
        connections(&site, first + 200..first + 240);
    }
}

#[test]
fn connections_go_to_others_where_that_is_asked_for() {
    let site = Site::running(3, &web(&rules("reselect", "")));
    for (round, (event, how)) in EVENTS.into_iter().enumerate() {
        let first = 10_000 + 1000 * round as u16;
        let mut lost = connections(&site, first..first + 30);
        happen(&site, event);
        for connection in &mut lost {
            // Whoever has them now does not know them.
            let error = connection.who().expect_err(how);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{how}: {error}");
        }
        expect_none_new(&site, first + 100, how);
        undo(&site, event);
    }
    assert_eq!(told(&site), 0, "backends tell them");
}

#[test]
fn connections_are_kept_for_as_long_as_their_rule_says_and_then_reset() {
    const KEPT: Duration = Duration::from_secs(1);

    let limits = "drain_timeout = \"1s\"\ndown_timeout = \"1s\"\nremove_timeout = \"1s\"";
    let site = Site::running(3, &web(limits));
    for (round, (event, how)) in EVENTS.into_iter().enumerate() {
        let first = 10_000 + 1000 * round as u16;
        let mut connections = connections(&site, first..first + 30);
        let before = told(&site);
        let begun = Instant::now();
        happen(&site, event);
        let last = connections.last_mut().expect("more than three");
        let error = site.until("the end of the connection", || match last.who() {
            Ok(server) => Err(format!("{server} answers")),
            Err(error) => Ok(error),
        });
        assert!(begun.elapsed() >= KEPT, "{how}: {:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{how}: {error}");
        for connection in connections.iter_mut().rev().skip(1) {
            let error = connection.who().expect_err(how);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{how}: {error}");
        }
        assert!(told(&site) > before, "{how}");
        undo(&site, event);
    }
}

/// Ports whose flows the first backend has.
fn flows(site: &Site, ports: std::ops::Range<u16>) -> Vec<u16> {
    let is_ours = |port: &u16| ask_udp(&site.topology.client, *port, vip(FAMILY)).unwrap() == "be1";
    let ours: Vec<_> = ports.filter(is_ours).collect();
    assert!(ours.len() > 3, "{ours:?}");
    ours
}

#[test]
fn remembered_flows_do_what_their_rule_says_with_the_next_datagram() {
    let mut site = Site::new(3);
    site.start(&echo(""));
    for (rules_before, rule) in [(0, "keep"), (1, "reselect"), (2, "reset")] {
        site.write_config(&echo(&rules(rule, "")).to_string());
        site.hang_up();
        site.until("the rule", || {
            let shown = site.json(&["service", "show", "web"])["services"][0]["flow_rules"].clone();
            let is_in_force = shown["on_drain"] == rule;
            is_in_force.then_some(()).ok_or_else(|| shown.to_string())
        });
        site.until_all_are("up");
        for (round, (event, how)) in EVENTS.into_iter().enumerate() {
            // Others would still be where an earlier rule has sent them.
            let first = 10_000 + 5000 * rules_before + 1000 * round as u16;
            let flows = flows(&site, first..first + 30);
            happen(&site, event);
            for port in flows {
                let answered = ask_udp(&site.topology.client, port, vip(FAMILY));
                let answered = answered.map_err(|error| error.kind());
                let is_right = match rule {
                    "keep" => answered.as_deref() == Ok("be1"),
                    "reselect" => matches!(answered.as_deref(), Ok("be2" | "be3")),
                    _ => answered == Err(ErrorKind::ConnectionRefused),
                };
                assert!(is_right, "{rule}, {how}: {answered:?}");
            }
            undo(&site, event);
        }
    }
}

#[test]
fn remembered_flows_that_were_kept_go_to_others_in_the_end() {
    let site = Site::new(3).run(&echo(&rules("keep", "down_timeout = \"1s\"")));
    let flows = flows(&site, 10_000..10_030);
    happen(&site, Event::Fail);
    let ask = |port| ask_udp(&site.topology.client, port, vip(FAMILY)).unwrap();
    assert_eq!(ask(flows[0]), "be1");
    site.until("the end of the flow", || match ask(flows[0]).as_str() {
        "be1" => Err("it is kept".to_owned()),
        _ => Ok(()),
    });
    assert!(flows.iter().all(|port| ask(*port) != "be1"));
    assert_eq!(told(&site), 0);
}

/// A network whose backends have nothing but their own addresses, and their servers.
fn translated(rule: &str) -> (Site, Vec<Server>) {
    let site = Site::new(3);
    let servers = (1..=3).map(|number| {
        let own = std::net::SocketAddr::new(address::backend(FAMILY, number), 8080);
        Server::start(site.topology.backend(number), [own]).unwrap()
    });
    let servers = servers.collect();
    let lines = rules(rule, "no_backend = \"refuse\"");
    let web = Service::tcp("web", vip(FAMILY)).key(&lines).by_translation(8080).to(FAMILY, 1..=3);
    (site.run(&Config::of([web])), servers)
}

#[test]
fn translated_connections_do_what_their_rule_says() {
    for rule in ["keep", "reselect", "reset"] {
        let (site, _servers) = translated(rule);
        for (round, event) in [Event::Drain, Event::Maint, Event::Remove].into_iter().enumerate() {
            let first = 10_000 + 1000 * round as u16;
            let mut open = connections(&site, first..first + 30);
            let before = told(&site);
            happen(&site, event);
            for connection in &mut open {
                let server = connection.who().map_err(|error| error.kind());
                match rule {
                    "keep" => assert_eq!(server.as_deref(), Ok("be1")),
                    _ => assert_eq!(server, Err(ErrorKind::ConnectionReset), "{rule}"),
                }
            }
            assert_eq!(told(&site) > before, rule == "reset");
            expect_none_new(&site, first + 100, rule);
            if event == Event::Remove {
                break;
            }
            undo(&site, event);
        }
    }
}

#[test]
fn a_restart_keeps_connections_of_backends_that_left_before_or_meanwhile() {
    let config = |from| Config::of([Service::tcp("web", vip(FAMILY)).to(FAMILY, from..=3)]);
    let mut site = Site::running(3, &config(1));
    let open = |port| {
        let mut connection = Connection::open(&site.topology.client, port, vip(FAMILY)).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    let mut all: Vec<_> = (10_000..10_060).map(open).collect();
    let mut expect_unbroken = |when: &str| {
        for (connection, server) in &mut all {
            assert_eq!(connection.who().unwrap(), *server, "{when}");
        }
    };
    site.ask(&["backend", "remove", GONE]);
    expect_unbroken("removed");
    site.kill_lbd();
    site.write_config(&config(3).to_string());
    site.start_lbd();
    expect_unbroken("a restart");
    let shown = site.json(&["service", "show", "web"])["services"][0]["departed"].clone();
    let left: Vec<_> = shown.as_array().unwrap().iter().map(|item| &item["address"]).collect();
    assert_eq!(left, ["10.0.1.11", "10.0.1.12"], "{shown}");
    for port in 20_000..20_030 {
        assert_eq!(ask_tcp(&site.topology.client, port, vip(FAMILY)).unwrap(), "be3");
    }
    site.ask(&["backend", "add", "web/10.0.1.12"]);
    site.until_is("web/10.0.1.12", "up");
    expect_unbroken("one is back");
}

/// A client that uses its port again and again must not stay with a backend that drains.
#[test]
fn a_connection_from_a_port_that_was_used_before_goes_where_new_ones_go() {
    let site = Site::running(3, &web(""));
    let ask = |port| ask_tcp(&site.topology.client, port, vip(FAMILY)).unwrap();
    let port = (20_000..20_100).find(|port| ask(*port) == "be1").expect("one of a hundred");
    let mut kept = connections(&site, 21_000..21_030);
    for round in 0..100 {
        if round == 20 {
            happen(&site, Event::Drain);
        }
        assert_eq!(ask(port) == "be1", round < 20, "round {round}");
    }
    for connection in &mut kept {
        assert_eq!(connection.who().unwrap(), "be1");
    }
    undo(&site, Event::Drain);
    assert_eq!(ask(port), "be1");
}

#[test]
fn a_backend_that_comes_and_goes_twice_a_second_breaks_nothing() {
    let check = "type = \"tcp\"\ninterval = \"50ms\"\ntimeout = \"50ms\"\nrise = 1\nfall = 1";
    let service = Service::tcp("web", vip(FAMILY)).table("health_check", check).to(FAMILY, 1..=3);
    let site = Site::running(3, &Config::of([service]));
    let open = |port| {
        let mut connection = Connection::open(&site.topology.client, port, vip(FAMILY)).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    let mut all: Vec<_> = (10_000..10_300).map(open).collect();
    let began = Instant::now();
    for round in 0_u16.. {
        if began.elapsed() > Duration::from_secs(10) && round % 2 == 0 {
            break;
        }
        let next = Instant::now() + Duration::from_millis(250);
        silence(&site, if round % 2 == 0 { "add" } else { "del" });
        // Some begin while it is away, some while it is there.
        all.push(open(20_000 + round));
        while Instant::now() < next {
            for (connection, server) in all.iter_mut().skip(usize::from(round) % 7).step_by(7) {
                assert_eq!(connection.who().unwrap(), *server, "round {round}");
            }
        }
    }
    site.until_is(GONE, "up");
    for (connection, server) in &mut all {
        assert_eq!(connection.who().unwrap(), *server);
    }
    let labels = [("service", "web"), ("backend", "10.0.1.11")];
    let changes = site.metrics().sum("lb_backend_state_changes_total", &labels);
    assert!(changes >= 20, "{changes} changes of state");
    assert_eq!(told(&site), 0);
}

/// Backends come and go by the thousand. Those that are back in time are the same as before.
#[test]
fn a_thousand_removals_break_no_connection() {
    let site = Site::running(
        3,
        &Config::of([Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=3)]).set("max_backends", "4"),
    );
    let open = |port| {
        let mut connection = Connection::open(&site.topology.client, port, vip(FAMILY)).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    let mut all: Vec<_> = (10_000..10_060).map(open).collect();
    for cycle in 0..1000_u16 {
        let number = 1 + (cycle % 2) as u8;
        let name = format!("web/{}", address::backend(FAMILY, number));
        say(&site, &format!("{{\"verb\":\"remove-backend\",\"name\":\"{name}\"}}"));
        let (connection, server) = &mut all[usize::from(cycle) % 60];
        assert_eq!(connection.who().unwrap(), *server, "cycle {cycle}");
        say(&site, &format!("{{\"verb\":\"add-backend\",\"name\":\"{name}\",\"weight\":100}}"));
        let (connection, server) = &mut all[usize::from(cycle) * 7 % 60];
        assert_eq!(connection.who().unwrap(), *server, "cycle {cycle}");
    }
    for (connection, server) in &mut all {
        assert_eq!(connection.who().unwrap(), *server);
    }
    assert_eq!(told(&site), 0);
}

/// A place in the tables that one service's backend had is another's a moment later.
#[test]
fn what_was_remembered_of_a_removed_backend_never_reaches_another_services() {
    const PORT: u16 = 10_000;

    let web =
        Service::udp("web", vip(FAMILY)).key("udp_flows = \"remember\"\nno_backend = \"refuse\"");
    let other = Service::udp("other", second_vip(FAMILY)).key("udp_flows = \"remember\"");
    let mut site = Site::new(2);
    // Two places: each is used by one service and then by the other.
    site.start(&Config::of([web, other]).set("max_backends", "2"));
    let [first, second] = [1, 2].map(|number| address::backend(FAMILY, number));
    let ask = |target| ask_udp(&site.topology.client, PORT, target).map_err(|error| error.kind());
    let add = |name: &str| {
        say(&site, &format!("{{\"verb\":\"add-backend\",\"name\":\"{name}\",\"weight\":100}}"));
        site.until_is(name, "up");
    };
    let remove =
        |name: &str| say(&site, &format!("{{\"verb\":\"remove-backend\",\"name\":\"{name}\"}}"));
    for cycle in 0..100 {
        add(&format!("web/{first}"));
        assert_eq!(ask(vip(FAMILY)).as_deref(), Ok("be1"), "cycle {cycle}");
        remove(&format!("web/{first}"));
        add(&format!("other/{second}"));
        let answered = ask(vip(FAMILY));
        assert_eq!(answered, Err(ErrorKind::ConnectionRefused), "cycle {cycle}");
        assert_eq!(ask(second_vip(FAMILY)).as_deref(), Ok("be2"), "cycle {cycle}");
        remove(&format!("other/{second}"));
    }
}

/// Says something to lbd as lbctl does, without a process for each word.
#[track_caller]
fn say(site: &Site, request: &str) {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixStream,
    };

    let socket = site.topology.balancer.path("/run/lb/lbd.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("{\"done\""), "{request}: {answer}");
}
