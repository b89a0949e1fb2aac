//! What happens is told to those who watch, and acted upon.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use lb_tests::{Daemon, Lbctl, address::Family};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{
    PATIENCE, Site,
    config::{Config, Service},
    vip,
};

/// Where the program writes, in the balancer's own `/run`.
const NOTE: &str = "/run/note";
/// Notes all that it learns, and whole or not at all.
const SCRIPT: &str = "{ env; cat; } > $0.new && mv $0.new $0";

fn hooks() -> String {
    let program = format!(
        "[[hook]]\nname = \"note\"\non = [\"backend-state\"]\nto = [\"down\"]\nservices = [\"web\"]\n\
         command = [\"/bin/sh\", \"-c\", \"{SCRIPT}\", \"{NOTE}\"]\n"
    );
    let url = "[[hook]]\nname = \"post\"\non = [\"backend-state\"]\nto = [\"down\"]\n\
               url = \"http://127.0.0.1:9000/down\"\n";
    program + url
}

/// Three checked backends of one service, and lbd with hooks.
fn site() -> Site {
    let service = Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=3).checked();
    let mut site = Site::new(3);
    site.write_config(&format!("{}{}", Config::of([service]), hooks()));
    site.start_lbd();
    site.until_all_are("up");
    site
}

/// Events that lbctl tells.
fn events(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let said = site.ask(&[&["-o", "json", "events"], arguments].concat());
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn follow(site: &Site) -> Daemon {
    let lbctl = Lbctl::new(&site.topology.balancer).unwrap();
    let command = lbctl.command(&["-o", "json", "events", "-f", "--backend", "web/10.0.1.13"]);
    Daemon::start("lbctl events", command).unwrap()
}

fn is_change(event: &Value, from: &str, to: &str) -> bool {
    event["kind"] == "backend-state" && event["from"] == from && event["to"] == to
}

/// Takes one request in the balancer, and answers that it is good.
fn listen(site: &Site) -> mpsc::Receiver<String> {
    let bind = || TcpListener::bind("127.0.0.1:9000").unwrap();
    let listener = site.topology.balancer.enter(bind);
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut space = [0; 4096];
        // The document ends the request.
        while !text.ends_with(b"}") {
            let length = stream.read(&mut space).unwrap();
            assert_ne!(length, 0, "the request ends early");
            text.extend_from_slice(&space[..length]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        // The test may have failed.
        let _ = sender.send(String::from_utf8(text).unwrap());
    });
    requests
}

#[test]
fn what_happens_to_a_backend_is_told_and_acted_upon() {
    let mut site = site();
    let requests = listen(&site);
    let watcher = follow(&site);
    site.until("the watcher to see the past", || {
        let said = watcher.output();
        said.contains("\"to\":\"up\"").then_some(()).ok_or(said)
    });
    site.kill_server(3);
    site.until_is("web/10.0.1.13", "down");

    let all = events(&site, &[]);
    let sequence: Vec<u64> = all.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(sequence.iter().copied().eq(1..=all.len() as u64), "{sequence:?}");
    let told = all.iter().find(|event| is_change(event, "up", "down")).expect("it is told");
    assert_eq!((&told["service"], &told["backend"]), (&"web".into(), &"10.0.1.13".into()));
    assert!(told["reason"].as_str().unwrap().ends_with("last: connect was refused"), "{told}");
    let other = events(&site, &["--backend", "web/10.0.1.11"]);
    assert!(other.iter().all(|event| event["backend"] == "10.0.1.11"), "{other:?}");
    assert_eq!(events(&site, &["-n", "1"]).len(), 1);
    assert_eq!(site.lbctl(&["events", "--service", "nobody"]).code, 4);

    let note = site.topology.balancer.path(NOTE);
    let note = site.until("the program to have run", || {
        fs::read_to_string(&note).map_err(|error| error.to_string())
    });
    for line in ["LB_EVENT=backend-state", "LB_BACKEND=10.0.1.13", "LB_FROM=up", "LB_TO=down"] {
        assert!(note.lines().any(|found| found == line), "{line}: {note}");
    }
    let input = note.lines().find(|line| line.starts_with('{')).expect("the event");
    assert_eq!(serde_json::from_str::<Value>(input).unwrap(), *told);

    let request = requests.recv_timeout(PATIENCE).expect("it is called");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("POST /down HTTP/1.1\r\n"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), *told);

    for hook in ["note", "post"] {
        site.until("the runs to be counted", || {
            let labels = [("hook", hook), ("result", "done")];
            let count = site.metrics().sum("lb_hook_runs_total", &labels);
            (count == 1).then_some(()).ok_or_else(|| format!("{count} of {hook}"))
        });
    }
    site.until("the watcher to see it live", || {
        let said = watcher.output();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let seen = lines.filter(|event| is_change(event, "up", "down")).count();
        (seen == 1 && said.contains("\"kind\":\"hook\"")).then_some(()).ok_or(said)
    });
}

#[test]
fn following_ends_with_the_watcher_or_with_lbd() {
    let mut site = site();
    let ended = |site: &Site, watcher: &Daemon| {
        site.until("the watcher to end", || {
            watcher.exit_status().ok_or_else(|| watcher.output()).map(|status| status.code())
        })
    };
    let watchers = [follow(&site), follow(&site)];
    for watcher in &watchers {
        site.until("the watcher to see the past", || {
            let said = watcher.output();
            said.contains("\"to\":\"up\"").then_some(()).ok_or(said)
        });
    }
    watchers[0].signal(Signal::SIGINT);
    assert_eq!(ended(&site, &watchers[0]), Some(0));
    site.kill_lbd();
    assert_eq!(ended(&site, &watchers[1]), Some(3));
    assert!(watchers[1].log().contains("\"unreachable\""), "{}", watchers[1].log());
}
