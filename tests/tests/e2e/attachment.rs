//! The program's attachment to interfaces: whose it is, and that it stays.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use lb_tests::{Host, address::Family};
use lb_userspace::objects;

use crate::site::{
    Site,
    client::ask_tcp,
    config::{Config, Service},
    vip,
    xdp::{self, pins},
};

/// The pinned attachment of eth0.
const LINK: &str = "/sys/fs/bpf/lb/links/eth0";

fn config() -> Config {
    Config::of([Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=1)])
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
        assert!(last.starts_with("error: interface `eth0` has another XDP program"), "{case}");
        assert_eq!(xdp::program(balancer, "eth0"), foreign, "{case}");
        assert_eq!(pins(balancer), [""; 0], "{case}");
        assert!(!balancer.path("/run/lb/lbd.sock").exists(), "{case}");
        balancer.run(&["ip", "link", "set", "dev", "eth0", theirs, "off"]).unwrap();
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

    add_second_interface(balancer);
    site.until("the new interface to be attached", || {
        let said = site.lbctl(&["status"]);
        (said.code == 0).then_some(()).ok_or_else(|| format!("{said:?}"))
    });
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
