//! The program's attachment to interfaces: whose it is, and that it stays.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use lb_tests::{Host, address::Family};
use lb_userspace::objects;

use crate::site::{
    PATIENCE, Site,
    client::ask_tcp,
    config::{Config, Service},
    crowd::{self, Crowd},
    vip,
    xdp::{self, pins},
};

/// The pinned attachment of eth0.
const LINK: &str = "/sys/fs/bpf/lb/links/eth0";

fn config() -> Config {
    Config::of([web(1)])
}

fn web(backends: u8) -> Service {
    Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=backends)
}

/// Connections and attempts of the client's that were reset.
fn resets(client: &Host) -> u64 {
    let text = client.enter(|| fs::read_to_string("/proc/thread-self/net/snmp")).unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let counted = names.split(' ').zip(numbers.split(' '));
    let resets = counted.filter(|(name, _)| ["EstabResets", "AttemptFails"].contains(name));
    resets.map(|(_, number)| number.parse::<u64>().expect("a number")).sum()
}

/// A pair of interfaces of its own.
fn add_second_interface(host: &Host) {
    host.ip("link add eth1 type veth peer name eth1-peer").unwrap();
    host.ip("link set eth1 up\nlink set eth1-peer up").unwrap();
}

#[test]
fn a_program_of_somebody_else_is_left_alone() {
    let site = Site::new(1);
    let balancer = &site.topology.balancer;
    fs::write(balancer.path("/run/foreign.o"), objects::PASS).unwrap();
    for (theirs, mode) in
        [("xdpdrv", "native"), ("xdpdrv", "auto"), ("xdpgeneric", "native"), ("xdpgeneric", "auto")]
    {
        let line = format!("link set dev eth0 {theirs} object /run/foreign.o section xdp");
        let words: Vec<_> = ["ip"].into_iter().chain(line.split(' ')).collect();
        balancer.run(&words).unwrap();
        let foreign = xdp::program(balancer, "eth0");
        assert!(foreign.is_some());

        site.write_config(&config().set("xdp_mode", &format!("\"{mode}\"")).to_string());
        let refused = site.run_lbd(&[]);
        let case = format!("{mode} beside {theirs}: {refused:?}");
        assert_eq!(refused.code, 1, "{case}");
        let last = refused.stderr.lines().last().unwrap_or_default();
        let id = foreign.expect("a program").id;
        let named = format!("error: interface `eth0` has another XDP program (id {id}, pass)");
        assert!(last.starts_with(&named), "{case}");
        assert_eq!(xdp::program(balancer, "eth0"), foreign, "{case}");
        assert_eq!(pins(balancer), [""; 0], "{case}");
        assert!(!balancer.path("/run/lb/lbd.sock").exists(), "{case}");
        balancer.run(&["ip", "link", "set", "dev", "eth0", theirs, "off"]).unwrap();
    }
}

/// The same of one that is attached by a link, as others' daemons do.
#[test]
fn a_link_of_somebody_else_is_left_alone() {
    let site = Site::new(1);
    let balancer = &site.topology.balancer;
    site.ask(&["decap", "attach", "eth0", "--from", "10.9.9.9"]);
    let foreign = xdp::program(balancer, "eth0").expect("the far end");
    let before = pins(balancer);
    for mode in ["native", "generic", "auto"] {
        site.write_config(&config().set("xdp_mode", &format!("\"{mode}\"")).to_string());
        let refused = site.run_lbd(&[]);
        let last = refused.stderr.lines().last().unwrap_or_default();
        let named =
            format!("error: interface `eth0` has another XDP program (id {}, decap", foreign.id);
        assert!(refused.code == 1 && last.starts_with(&named), "{mode}: {refused:?}");
        assert_eq!(xdp::program(balancer, "eth0"), Some(foreign), "{mode}");
        assert_eq!(pins(balancer), before, "{mode}");
    }
}

/// What is refused for one interface is not done for another.
#[test]
fn a_refused_start_leaves_no_interface_attached() {
    let site = Site::new(1);
    let balancer = &site.topology.balancer;
    add_second_interface(balancer);
    fs::write(balancer.path("/run/foreign.o"), objects::PASS).unwrap();
    let line = "ip link set dev eth1 xdpdrv object /run/foreign.o section xdp";
    balancer.run(&line.split(' ').collect::<Vec<_>>()).unwrap();
    let config = config().set("interfaces", "[\"eth0\", \"eth1\"]");
    site.write_config(&config.to_string());
    let refused = site.run_lbd(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`eth1` has another XDP program"), "{refused:?}");
    assert_eq!(xdp::program(balancer, "eth0"), None);
    assert_eq!(pins(balancer), [""; 0]);
}

#[test]
fn what_somebody_detaches_is_put_back() {
    type Removal = fn(&Host) -> io::Result<()>;
    let removals: [(&str, Removal); 2] = [("detached", detach_link), ("unpinned", remove_pin)];
    let mut site = Site::running(1, &config());
    site.close_accounts();
    for (how, remove) in removals {
        let put_back = |site: &Site, whose: &str| {
            let balancer = &site.topology.balancer;
            remove(balancer).unwrap_or_else(|error| panic!("{how}: {error}"));
            site.until(&format!("an attachment {whose} to be {how} and put back"), || {
                let (program, pins) = (xdp::program(balancer, "eth0"), pins(balancer));
                let is_pinned = pins.iter().any(|pin| pin.ends_with("/links/eth0"));
                (program.is_some() && is_pinned)
                    .then_some(())
                    .ok_or_else(|| format!("{program:?}, {pins:?}"))
            });
            ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap();
        };
        put_back(&site, "of this lbd");
        // It is also as good as before: it outlives lbd.
        site.kill_lbd();
        ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap();
        site.start_lbd();
        put_back(&site, "that was taken over");
        site.kill_lbd();
        ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap();
        site.start_lbd();
    }
}

#[test]
fn a_program_of_somebody_else_in_our_place_is_a_problem() {
    let mut site = Site::running(1, &config());
    site.close_accounts();
    let balancer = &site.topology.balancer;
    fs::write(balancer.path("/run/foreign.o"), objects::PASS).unwrap();
    let line = "ip link set dev eth0 xdpdrv object /run/foreign.o section xdp";
    let words: Vec<_> = line.split(' ').collect();
    // lbd may be quicker and put its own back.
    site.until("somebody to take the interface", || {
        detach_link(balancer).map_err(|error| error.to_string())?;
        balancer.run(&words).map_err(|error| error.to_string())
    });
    site.until("lbd to notice it", || {
        let said = site.lbctl(&["status"]);
        let is_told = said.code == 1 && said.stdout.contains("has another XDP program");
        is_told.then_some(()).ok_or_else(|| format!("{said:?}"))
    });
    assert_eq!(site.json(&["status"])["interfaces"][0]["attached"], false);

    balancer.run(&["ip", "link", "set", "dev", "eth0", "xdpdrv", "off"]).unwrap();
    site.until("lbd to put its own back", || {
        let said = site.lbctl(&["status"]);
        (said.code == 0).then_some(()).ok_or_else(|| format!("{said:?}"))
    });
    ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap();
}

#[test]
fn an_interface_that_is_made_anew_gets_the_program_again() {
    let mut site = Site::new(1);
    site.close_accounts();
    add_second_interface(&site.topology.balancer);
    site.start(&config().set("interfaces", "[\"eth0\", \"eth1\"]"));
    site.until_all_are("up");
    let balancer = &site.topology.balancer;
    assert!(xdp::program(balancer, "eth1").is_some());

    balancer.ip("link del eth1").unwrap();
    site.until("lbd to miss the interface", || {
        let said = site.lbctl(&["status"]);
        let is_missed = said.code == 1 && said.stdout.contains("eth1");
        is_missed.then_some(()).ok_or_else(|| format!("{said:?}"))
    });
    ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap();

    let made = Instant::now();
    add_second_interface(balancer);
    site.until("the new interface to be attached", || {
        xdp::program(balancer, "eth1").map(drop).ok_or_else(|| "nothing is attached".to_owned())
    });
    let took = made.elapsed();
    assert!(took < PUT_BACK_WITHIN, "{took:?}");
    site.until("lbd to say so", || {
        let said = site.lbctl(&["status"]);
        (said.code == 0).then_some(()).ok_or_else(|| format!("{said:?}"))
    });
}

/// How soon the program is on an interface again, whoever took it off.
const PUT_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Packets of services meet no program for a moment. The machine does not have their addresses, so it
/// answers nobody with a reset, and connections go on.
#[test]
fn while_the_program_is_away_nobody_is_reset() {
    let mut site = Site::running(2, &Config::of([web(2)]));
    site.close_accounts();
    let mut members = crowd::open(&site.topology.client, 3000..3030, vip(Family::V4));
    for (connection, _) in &mut members {
        connection.wait_for(PATIENCE).unwrap();
    }
    let before = resets(&site.topology.client);
    let mut crowd = Crowd::start(members);
    let removed = Instant::now();
    detach_link(&site.topology.balancer).unwrap();
    site.until("the program to be put back", || {
        let program = xdp::program(&site.topology.balancer, "eth0");
        program.map(drop).ok_or_else(|| "it is away".to_owned())
    });
    let away = removed.elapsed();
    assert!(away < PUT_BACK_WITHIN, "{away:?}");
    crowd = crowd.go_round("put back");

    // The same without a daemon, which puts it back when it starts.
    site.kill_lbd();
    detach_link(&site.topology.balancer).unwrap();
    assert_eq!(xdp::program(&site.topology.balancer, "eth0"), None);
    let refused = ask_tcp(&site.topology.client, 2000, vip(Family::V4)).expect_err("nobody serves");
    assert_ne!(refused.kind(), io::ErrorKind::ConnectionRefused);
    site.start_lbd();
    crowd = crowd.go_round("put back by a start");
    while removed.elapsed() < Duration::from_secs(5) {
        crowd = crowd.go_round("afterwards");
    }
    let seen = resets(&site.topology.client);
    drop(crowd.finish());
    assert_eq!(seen, before, "resets that the client has seen");
}

#[test]
fn an_interface_that_goes_down_and_up_serves_again() {
    let mut site = Site::running(2, &Config::of([web(2)]));
    site.close_accounts();
    let program = xdp::program(&site.topology.balancer, "eth0");
    let mut members = crowd::open(&site.topology.client, 3000..3030, vip(Family::V4));
    let routes = site.topology.balancer.run(&["ip", "-6", "route", "show"]).unwrap();
    site.topology.balancer.ip("link set eth0 down").unwrap();
    site.topology.balancer.ip("link set eth0 up").unwrap();
    let up = Instant::now();
    site.until("the service to be served", || {
        ask_tcp(&site.topology.client, 2000, vip(Family::V4)).map_err(|error| error.to_string())
    });
    let took = up.elapsed();
    assert!(took < PUT_BACK_WITHIN, "{took:?}: {routes}");
    assert_eq!(xdp::program(&site.topology.balancer, "eth0"), program);
    assert_eq!(crowd::broken(&mut members), [""; 0]);
}

#[test]
fn an_attachment_stays_with_an_interface_that_is_renamed() {
    let mut site = Site::new(1);
    site.close_accounts();
    add_second_interface(&site.topology.balancer);
    site.start(&config().set("interfaces", "[\"eth0\", \"eth1\"]"));
    site.until_all_are("up");
    let balancer = &site.topology.balancer;
    let program = xdp::program(balancer, "eth1").expect("attached");
    let rename = |from: &str, to: &str| {
        balancer.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up"))
    };
    let is_pinned =
        |name: &str| pins(balancer).iter().any(|pin| pin.ends_with(&format!("/links/{name}")));
    let until_status = |code: i32| {
        site.until("lbd to notice it", || {
            let said = site.lbctl(&["status"]);
            (said.code == code).then_some(()).ok_or_else(|| format!("{said:?}"))
        });
    };
    rename("eth1", "eth7").unwrap();
    until_status(1);
    assert!(site.lbctl(&["status"]).stdout.contains("no interface `eth1`"));
    site.until("the pin to follow", || {
        (is_pinned("eth7") && !is_pinned("eth1"))
            .then_some(())
            .ok_or_else(|| format!("{:?}", pins(balancer)))
    });
    assert_eq!(xdp::program(balancer, "eth7"), Some(program), "its packets still meet the program");

    // Another gets the name: it is not taken for the first.
    balancer.ip("link add eth1 type veth peer name eth1-again").unwrap();
    until_status(0);
    assert_eq!(xdp::program(balancer, "eth1"), Some(program));
    assert!(is_pinned("eth1") && is_pinned("eth7"));

    // Both change their names back.
    rename("eth1", "eth8").unwrap();
    rename("eth7", "eth1").unwrap();
    site.until("the pins to follow", || {
        (is_pinned("eth8") && is_pinned("eth1") && !is_pinned("eth7"))
            .then_some(())
            .ok_or_else(|| format!("{:?}", pins(balancer)))
    });
    until_status(0);
    // What is not in the configuration is let go by the next start.
    site.stop_lbd();
    site.start_lbd();
    let balancer = &site.topology.balancer;
    assert_eq!(xdp::program(balancer, "eth8"), None);
    assert!(xdp::program(balancer, "eth1").is_some());
}

#[test]
fn an_interface_that_leaves_the_configuration_loses_the_program() {
    let mut site = Site::new(1);
    site.close_accounts();
    add_second_interface(&site.topology.balancer);
    site.start(&config().set("interfaces", "[\"eth0\", \"eth1\"]"));
    assert!(xdp::program(&site.topology.balancer, "eth1").is_some());
    site.stop_lbd();
    assert!(xdp::program(&site.topology.balancer, "eth1").is_some());

    site.start(&config());
    let balancer = &site.topology.balancer;
    assert_eq!(xdp::program(balancer, "eth1"), None);
    assert!(xdp::program(balancer, "eth0").is_some());
    assert!(pins(balancer).iter().all(|pin| !pin.ends_with("eth1")), "{:?}", pins(balancer));
}

fn remove_pin(host: &Host) -> io::Result<()> {
    fs::remove_file(host.path(LINK))
}

/// What `bpftool link detach` does: the link remains, but leads nowhere.
fn detach_link(host: &Host) -> io::Result<()> {
    let path = host.path(LINK);
    let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes())?;
    // `union bpf_attr` of linux/bpf.h for the two commands.
    #[repr(C)]
    struct Get {
        path: u64,
        fd: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Detach {
        fd: u32,
    }
    let get = Get { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the kernel reads as many bytes as it is told, and a string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const get, size_of::<Get>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us.
    let link = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let detach = Detach { fd: link.as_raw_fd().cast_unsigned() };
    // SAFETY: the kernel reads as many bytes as it is told.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, &raw const detach, size_of::<Detach>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const BPF_OBJ_GET: i32 = 7;
const BPF_LINK_DETACH: i32 = 34;
