//! The memory of maps: stated before it is taken, and what happens where it is not there.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
};

use lb_tests::{Load, address::Family};

use crate::site::{
    Site,
    client::{expect_none_failed, watch},
    config::{Config, Service},
    said, vip, xdp,
};

const MIB: u64 = 1 << 20;

fn config() -> Config {
    Config::of([Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=2)])
}

/// What `lbd --check` says of a map, or of all, in MiB.
#[track_caller]
fn stated(site: &Site, name: &str) -> f64 {
    let said = site.run_lbd(&["--check"]);
    assert_eq!(said.code, 0, "{said:?}");
    let line = said.stdout.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap_or_else(|| panic!("{name}: {said:?}"));
    words.trim().strip_suffix(" MiB").expect("a unit").parse().expect("a number")
}

#[test]
fn the_memory_that_is_stated_is_the_memory_that_is_taken() {
    for (flows, nat_flows) in [("262144", "65536"), ("1048576", "8192")] {
        let mut site = Site::new(2);
        let config = config().set("max_flows", flows).set("max_nat_flows", nat_flows);
        site.write_config(&config.to_string());
        let (all, cache) = (stated(&site, "memory of all maps"), stated(&site, "FLOWS"));
        assert!(!site.topology.balancer.path("/sys/fs/bpf/lb").exists(), "nothing was made");
        assert!((cache - 16.0 * flows.parse::<f64>().unwrap() / MIB as f64).abs() < 0.1, "{cache}");
        site.start(&config);
        let taken = site.json(&["status"])["map_bytes"].as_f64().unwrap() / MIB as f64;
        assert!((taken / all - 1.0).abs() < 0.02, "stated {all}, taken {taken}");
    }
}

/// Starts that fail for want of memory beside a data plane that serves.
#[test]
fn maps_that_find_no_memory_are_named_and_the_old_ones_serve_on() {
    let Some(group) = Group::with_limit(96 * MIB) else {
        eprintln!("SKIPPED: no memory cgroup can be made here");
        return;
    };
    let mut site = Site::running(2, &config());
    let load = Load::http(&site.topology.client, vip(Family::V4), 100).unwrap();
    watch(&load, 0, 20);
    site.stop_lbd();
    let balancer = &site.topology.balancer;
    let before = (xdp::program(balancer, "eth0"), xdp::pins(balancer));
    for (key, value, map, bytes) in [
        ("max_flows", "16777216", "FLOWS", "256.0 MiB"),
        ("max_slots", "134217728", "SLOTS", "512.0 MiB"),
    ] {
        site.write_config(&config().set(key, value).to_string());
        let mut command = site.command_of("lbd", &[]);
        group.confine(&mut command);
        let refused = said::run_to_the_end("lbd", command);
        assert_eq!(refused.code, 1, "{key}: {refused:?}");
        let last = refused.stderr.lines().last().unwrap_or_default();
        let start =
            format!("error: map {map} cannot be made: it needs {bytes}, all maps together ");
        assert!(last.starts_with(&start), "{key}: {last}");
        assert!(
            last.contains(&format!("lower daemon.{key}, or let lbd have more memory")),
            "{last}"
        );
        assert_eq!((xdp::program(balancer, "eth0"), xdp::pins(balancer)), before, "{key}");
    }
    watch(&load, lb_tests::clock::now_ms(), 20);
    site.start(&config());
    assert_eq!(site.json(&["status"])["adopted"], true);
    expect_none_failed(&load, 0);
}

/// A memory cgroup of its own, of either version.
struct Group(PathBuf);

impl Group {
    fn with_limit(bytes: u64) -> Option<Self> {
        let name = format!("lb-tests-{}", std::process::id());
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.into_iter().find_map(|(root, limit)| {
            let group = Self(Path::new(root).join(&name));
            fs::create_dir(&group.0).ok()?;
            let limit = group.0.join(limit);
            // Where the controller is not there, neither is the file.
            (limit.exists() && fs::write(limit, bytes.to_string()).is_ok()).then_some(group)
        })
    }

    /// What the command starts is in the group.
    fn confine(&self, command: &mut std::process::Command) {
        let members = File::options().write(true).open(self.0.join("cgroup.procs")).unwrap();
        let join = move || -> io::Result<()> { (&members).write_all(b"0") };
        // SAFETY: between fork and exec only a system call is made: no allocation, no lock.
        unsafe { command.pre_exec(join) };
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel needs a moment to see that its last process is gone.
        let removed = lb_tests::waiting::until("an empty cgroup", crate::site::PATIENCE, || {
            fs::remove_dir(&self.0).map_err(|error| error.to_string())
        });
        if let Err(error) = removed {
            eprintln!("{error}");
        }
    }
}
