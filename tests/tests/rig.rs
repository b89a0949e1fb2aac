//! The rig itself, without a balancer: does traffic flow, and is nothing left afterwards?

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lb_tests::{
    Daemon, Download, Host, Load, Plan, Topology,
    address::{self, Family},
    clock, leftovers,
    report::{DownloadLine, Reason},
    waiting,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_host_has_its_own_network_and_places_to_write() {
    let host = Host::new("alone").unwrap();
    assert_eq!(host.run(&["ls", "/sys/class/net"]).unwrap(), "lo");
    for folder in ["/run/lb", "/var/lib/lb", "/sys/fs/bpf"] {
        let inside = Path::new(folder).join("mine");
        host.run(&["mkdir", inside.to_str().unwrap()]).unwrap();
        assert!(host.path(&inside).exists());
        assert!(!inside.exists(), "{folder} of the host is the machine's");
    }
    host.enter(|| fs::write("/run/lb/from-a-thread", "x")).unwrap();
    assert!(host.path("/run/lb/from-a-thread").exists());
}

#[test]
fn errors_tell_the_command_and_its_words() {
    let host = Host::new("alone").unwrap();
    let error = host.run(&["ls", "/no/such/place"]).unwrap_err().to_string();
    assert!(error.contains("alone") && error.contains("`ls /no/such/place`"), "{error}");
    assert!(error.contains("No such file"), "{error}");
    let error = host.ip("link set lo up\nlink set nothing up").unwrap_err().to_string();
    assert!(error.contains("nothing") && error.contains("2:"), "{error}");
}

#[test]
fn requests_and_datagrams_reach_a_backend_in_both_families() {
    let topology = direct_to_backend_1();
    let _server = topology.start_server(1, 80).unwrap();
    for family in Family::ALL {
        let target = SocketAddr::new(address::service(family, 1), 80);
        for load in [
            Load::http(&topology.client, target, 100).unwrap(),
            Load::udp(&topology.client, target, 100).unwrap(),
        ] {
            waiting::until("50 answers", PATIENCE, || {
                let so_far = load.since(0).unwrap();
                (so_far.answered() >= 50).then_some(()).ok_or_else(|| format!("{so_far:?}"))
            })
            .unwrap();
            let all = load.finish().unwrap();
            assert!(all.failed.is_empty(), "{family}: {:?}", all.failed);
            assert_eq!(all.served.keys().collect::<Vec<_>>(), ["be1"]);
        }
    }
}

#[test]
fn a_download_is_compared_to_its_end() {
    let topology = direct_to_backend_1();
    let _server = topology.start_server(1, 80).unwrap();
    for family in Family::ALL {
        let target = SocketAddr::new(address::service(family, 1), 80);
        let download = Download::start(&topology.client, target, 3_000_000, 1).unwrap();
        assert_eq!(download.backend(), "be1");
        let end = download.finish(PATIENCE).unwrap();
        assert!(matches!(end, DownloadLine::Complete { bytes: 3_000_000 }), "{end:?}");
    }
}

#[test]
fn a_killed_server_refuses_and_breaks_downloads() {
    let topology = direct_to_backend_1();
    let server = topology.start_server(1, 80).unwrap();
    let target = SocketAddr::new(address::service(Family::V4, 1), 80);
    let load = Load::http(&topology.client, target, 100).unwrap();
    let download = Download::start(&topology.client, target, 3_000_000, 30).unwrap();
    server.kill();
    let killed = clock::now_ms();
    waiting::until("failures", PATIENCE, || {
        let failed = load.since(killed).unwrap().failed;
        (failed.len() >= 10).then_some(()).ok_or_else(|| format!("{failed:?}"))
    })
    .unwrap();
    let after = load.settle(killed).unwrap();
    assert_eq!(after.answered(), 0);
    // The first may have been connected in the very millisecond of the kill.
    let mut later = after.failed.iter().skip(1);
    assert!(later.all(|failure| failure.reason == Reason::Refused), "{after:?}");
    let end = download.finish(PATIENCE).unwrap();
    assert!(matches!(end, DownloadLine::Broken(_)), "{end:?}");
}

#[test]
fn dropping_ends_hosts_and_daemons() {
    let host = Host::new("short").unwrap();
    let mut command = host.command("sleep");
    command.arg("1000");
    let daemon = Daemon::start("sleep", command).unwrap();
    let pids = [host.pid(), daemon.pid()];
    assert!(pids.into_iter().all(leftovers::is_alive));
    drop((host, daemon));
    assert!(!pids.into_iter().any(leftovers::is_alive));
}

#[test]
fn a_killed_test_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let before = leftovers::Machine::now();
        let (mut lab, hosts) = start_lab();
        let pids = leftovers::children(lab.id());
        assert!(pids.len() > hosts, "holders and servers: {pids:?}");
        kill(Pid::from_raw(lab.id().cast_signed()), signal).unwrap();
        lab.wait().unwrap();
        waiting::until("all processes to end", PATIENCE, || {
            let alive: Vec<_> = pids.iter().filter(|pid| leftovers::is_alive(**pid)).collect();
            if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?} live")) }
        })
        .unwrap();
        before.wait_until_clean().unwrap();
    }
}

/// A network whose router sends the services to backend 1 and not to a balancer.
fn direct_to_backend_1() -> Topology {
    let topology = Topology::new(Plan { backends: 1, services: 1 }).unwrap();
    topology.route_services_to(|family| address::backend(family, 1)).unwrap();
    topology
}

/// Starts the lab, and returns it with the number of its hosts when it has built them.
fn start_lab() -> (Child, usize) {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lb-tests-lab"))
        .args(["--backends", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(lab.stdout.take().unwrap());
    let lines = output.lines().map(Result::unwrap);
    let hosts = lines.take_while(|line| !line.starts_with("Ctrl-C"));
    let count = hosts.filter(|line| line.contains("nsenter")).count();
    (lab, count)
}
