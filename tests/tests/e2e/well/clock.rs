//! The wall clock may jump: nothing that is decided depends on it.

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use lb_tests::{Load, address};

use super::{FAMILY, events, web};
use crate::site::{
    PATIENCE, Site,
    client::{Connection, expect_none_failed, watch},
    config::{Config, Service},
    vip,
};

/// Adds the seconds in a file to each wall clock time that a program asks for. A namespace of time
/// has no wall clock of its own, and the machine's is everybody's.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    char text[32] = {0};
    int file = open("/run/clock", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long count = read(file, text, sizeof text - 1);
    close(file);
    return count > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *time, void *zone) {
    int result = syscall(SYS_gettimeofday, time, zone);
    if (result == 0) time->tv_sec += offset();
    return result;
}

time_t time(time_t *time) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (time) *time = now.tv_sec;
    return now.tv_sec;
}
"#;

const HOUR: i64 = 3600;

/// Everything that looks at time: checks, recovery, outliers, quorum.
fn config() -> Config {
    let service = Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=3).checked();
    let recovery = "slow_start = \"1s\"\nhold_down = \"1s\"\nflap_limit = 3.0";
    let service = service.table("recovery", recovery).table("outlier", "learned = true");
    Config::of([service.table("quorum", "panic_threshold = \"50%\"")])
}

/// The compiled shim, until it is dropped. Nothing in a host's `/run` can be mapped as code.
struct Shim(PathBuf);

impl Shim {
    fn compile(site: &Site) -> Self {
        const SOURCE: &str = "/run/clock.c";
        let balancer = &site.topology.balancer;
        fs::write(balancer.path(SOURCE), SHIM).unwrap();
        let object = format!("clock-{}.so", std::process::id());
        let shim = Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(object));
        let object = shim.0.to_str().expect("a path in UTF-8");
        balancer.run(&["cc", "-shared", "-fPIC", "-O1", "-o", object, SOURCE]).unwrap();
        shim
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // If it was never made, the test has failed already.
        let _ = fs::remove_file(&self.0);
    }
}

/// Moves the wall clock that lbd sees, at once and whole.
fn set_clock(site: &Site, seconds: i64) {
    let path = |name| -> PathBuf { site.topology.balancer.path(name) };
    fs::write(path("/run/clock.new"), seconds.to_string()).unwrap();
    fs::rename(path("/run/clock.new"), path("/run/clock")).unwrap();
}

/// Waits until each backend was checked again, more often than it takes to judge it.
fn until_checked(site: &Site) {
    let passed = || {
        let metrics = site.metrics();
        [1, 2, 3].map(|number| {
            let address = address::backend(FAMILY, number).to_string();
            let labels = [("backend", address.as_str()), ("result", "passed")];
            metrics.sum("lb_check_attempts_total", &labels)
        })
    };
    let before = passed();
    site.until("more checks than take a backend out", || {
        let now = passed();
        let is_so = now.iter().zip(before).all(|(now, before)| *now >= before + 5);
        is_so.then_some(()).ok_or_else(|| format!("{now:?}, {before:?} before"))
    });
}

/// How far an event's time is ahead of this test's clock.
fn ahead(event: &serde_json::Value) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    event["time_milliseconds"].as_i64().unwrap() / 1000 - now
}

#[test]
fn a_wall_clock_that_jumps_by_an_hour_changes_nothing() {
    let mut site = Site::new(3);
    let shim = Shim::compile(&site);
    set_clock(&site, 0);
    site.write_config(&config().to_string());
    site.start_lbd_in(("LD_PRELOAD", shim.0.to_str().expect("a path in UTF-8")));
    site.until_all_are("up");
    let load = Load::http(&site.topology.client, vip(FAMILY), 50).unwrap();
    let open = |port| Connection::open(&site.topology.client, port, vip(FAMILY)).unwrap();
    let mut kept: Vec<_> = (10_000..10_020).map(open).collect();
    let served: Vec<_> = kept.iter_mut().map(|connection| connection.who().unwrap()).collect();
    until_checked(&site);
    let before = events(&site);

    for seconds in [HOUR, -HOUR, 0] {
        set_clock(&site, seconds);
        until_checked(&site);
        let new = events(&site).split_off(before.len());
        assert!(new.is_empty(), "{seconds} s: {new:?}");
        assert!(site.backends().iter().all(|row| row.state == "up" && row.weight == 100));
        for (connection, server) in kept.iter_mut().zip(&served) {
            assert_eq!(connection.who().unwrap(), *server, "{seconds} s");
        }
    }
    watch(&load, 0, 100);
    expect_none_failed(&load, 0);

    // What does happen is told with the other time: lbd did see the clock jump.
    for (seconds, verb) in [(HOUR, "drain"), (-HOUR, "ready")] {
        set_clock(&site, seconds);
        site.ask(&["backend", verb, &web(2)]);
        let all = events(&site);
        let (last, ahead) = (all.last().unwrap(), ahead(all.last().unwrap()));
        assert!(ahead.abs_diff(seconds) <= PATIENCE.as_secs(), "{ahead}: {last}");
    }
    // A failure is still found while the clock is wrong, and forgiven in time.
    site.kill_server(3);
    site.until_is(&web(3), "down");
    set_clock(&site, HOUR);
    site.start_server(3);
    site.until_is(&web(3), "up");
}
