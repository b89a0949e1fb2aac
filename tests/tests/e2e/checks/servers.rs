//! Real servers in the hosts of backends. Each is one process, so that what the rig kills is all of
//! it, and has its files in the host's own `/run`.

use std::{fs, net::TcpStream};

use lb_tests::{Daemon, Host};

use crate::site::PATIENCE;

/// The folder of nginx's files; relative paths in its configuration are below it.
pub(super) const NGINX: &str = "/run/nginx";

/// Writes a file of a host, whole or not at all.
#[track_caller]
pub(super) fn put(host: &Host, path: &str, text: &str) {
    let path = host.path(path);
    let draft = path.with_extension("new");
    fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

/// Starts nginx with these `server` blocks, of which one listens on the port.
#[track_caller]
pub(super) fn nginx(host: &Host, port: u16, blocks: &str) -> Daemon {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {name};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{folders}{blocks}\n}}\n"
    );
    put(host, &format!("{NGINX}/nginx.conf"), &config);
    start(host, &["nginx", "-p", NGINX, "-c", "nginx.conf", "-e", "stderr"], port)
}

/// Starts HAProxy with these sections, of which one listens on the port.
#[track_caller]
pub(super) fn haproxy(host: &Host, port: u16, sections: &str) -> Daemon {
    const DEFAULTS: &str = "global\nnbthread 1\ndefaults\nmode http\ntimeout connect 1s\n\
                            timeout client 5s\ntimeout server 5s\n";
    put(host, "/run/haproxy/haproxy.cfg", &format!("{DEFAULTS}{sections}"));
    start(host, &["haproxy", "-db", "-f", "/run/haproxy/haproxy.cfg"], port)
}

/// The file of names that [`dnsmasq`] serves, in the form of hosts(5).
pub(super) const NAMES: &str = "/run/dnsmasq/names";

/// Starts dnsmasq, which knows the names below `lab.test` that are in [`NAMES`], and reads them again
/// on SIGHUP. It asks nobody else.
#[track_caller]
pub(super) fn dnsmasq(host: &Host) -> Daemon {
    put(host, NAMES, "");
    let names = format!("--addn-hosts={NAMES}");
    let command = [
        "dnsmasq",
        // Else it becomes another user, and a process for each TCP connection.
        "--no-daemon",
        "--conf-file=/dev/null",
        "--pid-file",
        "--no-resolv",
        "--no-hosts",
        "--local=/lab.test/",
        &names,
    ];
    start(host, &command, 53)
}

/// Starts a server and waits until it listens.
#[track_caller]
fn start(host: &Host, line: &[&str], port: u16) -> Daemon {
    let (program, arguments) = line.split_first().expect("a command line has a program");
    let mut command = host.command(program);
    command.args(arguments);
    let daemon = Daemon::start(&format!("{program} of {}", host.name()), command)
        .unwrap_or_else(|error| panic!("{error}; `cargo xtask setup` installs it"));
    let listening = daemon.until(&format!("{program} to listen"), PATIENCE, || {
        let connected = host.enter(|| TcpStream::connect(("127.0.0.1", port)));
        connected.map(drop).map_err(|error| format!("{error}\n{}", daemon.log()))
    });
    listening.unwrap_or_else(|error| panic!("{error}"));
    daemon
}
