//! Kernels that are too old.

use std::fs;

use lb_tests::{Host, Lbctl, program};
use nix::sys::utsname::uname;

use crate::{
    fact,
    site::{
        said,
        xdp::{files_below, pins, program as attached},
    },
};

const CONFIG: &str = "\
[daemon]
interfaces = [\"eth0\"]

[[service]]
name = \"web\"
vip = \"10.200.0.1\"
port = 80
protocol = \"tcp\"
forward = \"l2\"
[[service.backend]]
address = \"10.0.1.11\"
";

/// A machine with the interface that the configuration names.
fn machine() -> Host {
    let host = Host::new("balancer").unwrap();
    host.ip("link add eth0 type veth peer name far\nlink set eth0 up\nlink set far up").unwrap();
    fs::write(host.path("/run/lb.toml"), CONFIG).unwrap();
    host
}

#[test]
fn lbd_says_so_in_one_sentence_and_touches_nothing() {
    let host = machine();
    let mut command = host.command(program("lbd").unwrap());
    command.args(["--config", "/run/lb.toml"]);
    let said = said::by(command);
    assert_eq!(said.code, 1, "{said:?}");
    let [sentence] = said.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{said:?}") };
    let release = uname().unwrap().release().to_string_lossy().into_owned();
    assert!(sentence.contains(&release) && sentence.contains("6.1"), "{said:?}");
    assert_eq!(attached(&host, "eth0"), None);
    assert_eq!(pins(&host), [""; 0]);
    for folder in ["/run/lb", "/var/lib/lb"] {
        let below = files_below(&host.path(folder));
        assert_eq!(below, [""; 0], "{folder}");
    }
    fact::report(&format!("refused {sentence}"));
}

#[test]
fn a_configuration_can_be_checked_for_another_machine() {
    let host = machine();
    let mut command = host.command(program("lbd").unwrap());
    command.args(["--config", "/run/lb.toml", "--check"]);
    let said = said::by(command);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn the_far_end_of_tunnels_says_so_too() {
    let host = machine();
    let lbctl = Lbctl::new(&host).unwrap();
    let said = said::by(lbctl.command(&["decap", "attach", "eth0", "--from", "10.0.1.1"]));
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("6.1"), "{said:?}");
    assert_eq!(attached(&host, "eth0"), None);
    assert_eq!(pins(&host), [""; 0]);
}
