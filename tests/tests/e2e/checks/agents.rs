//! What agents on backends say, beside what operators say.

use std::{
    io::Write as _,
    net::TcpListener,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use lb_tests::{Host, address::Family};
use nix::sys::socket;
use serde_json::Value;

use super::{is_up, name, shown, target, until_shown};
use crate::site::{
    Site,
    config::{Config, Service},
};

const PORT: u16 = 9000;

/// An agent: one line for whoever connects. It ends when this is dropped.
struct Agent {
    listener: Arc<TcpListener>,
    says: Arc<Mutex<Says>>,
    thread: Option<JoinHandle<()>>,
}

struct Says {
    line: String,
    /// How often it was said.
    times: u32,
}

impl Agent {
    /// Starts an agent in a host, which says this.
    fn start(host: &Host, line: &str) -> Self {
        let listener = Arc::new(host.enter(|| TcpListener::bind(("0.0.0.0", PORT))).unwrap());
        let says = Arc::new(Mutex::new(Says { line: line.to_owned(), times: 0 }));
        let (ear, mouth) = (Arc::clone(&listener), Arc::clone(&says));
        let thread = thread::spawn(move || {
            while let Ok((mut stream, _)) = ear.accept() {
                let mut says = mouth.lock().expect("nobody panics");
                says.times += 1;
                // Who asked may be gone.
                let _ = stream.write_all(format!("{}\n", says.line).as_bytes());
            }
        });
        Self { listener, says, thread: Some(thread) }
    }
}

impl Agent {
    /// From now on it says this. Waits until lbd has been told: the question that was under way may
    /// have been answered before, the next one has not.
    fn say(&self, site: &Site, line: &str) {
        let times = {
            let mut says = self.says();
            line.clone_into(&mut says.line);
            says.times
        };
        site.until(&format!("the agent to say `{line}` twice"), || {
            let now = self.says().times;
            (now >= times + 2).then_some(()).ok_or_else(|| format!("{now} after {times}"))
        });
    }

    fn says(&self) -> MutexGuard<'_, Says> {
        self.says.lock().expect("nobody panics")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Wakes the thread.
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A service with two backends and agents on them.
fn service() -> Service {
    let agent = format!("port = {PORT}\ninterval = \"200ms\"\ntimeout = \"200ms\"");
    Service::tcp("web", target(80)).to(Family::V4, 1..=2).table("agent_check", &agent)
}

/// The network with an agent on each backend, both of which say `up`.
fn site(service: Service) -> (Site, [Agent; 2]) {
    let mut site = Site::new(2);
    let agents = [1, 2].map(|number| Agent::start(site.topology.backend(number), "up"));
    site.start(&Config::of([service]));
    for number in [1, 2] {
        until_shown(&site, &name("web", number), "up by its agent", |shown| {
            shown["state"] == "up" && shown["agent"] == "up"
        });
    }
    (site, agents)
}

/// Waits until backend 1 has this state and weight, and slots if it is to take flows.
#[track_caller]
fn until_is(site: &Site, state: &str, weight: u32) -> Value {
    until_shown(site, &name("web", 1), &format!("{state}, {weight}"), |shown| {
        let has_slots = shown["slots_share"].as_f64().is_some_and(|share| share > 0.0);
        shown["state"] == state && shown["weight"] == weight && has_slots == (state == "up")
    })
}

/// Says something as the operator.
#[track_caller]
fn order(site: &Site, verb: &str, rest: &[&str]) {
    site.ask(&[&["backend", verb, &name("web", 1)], rest].concat());
}

#[test]
fn agents_decide_on_state_and_weight() {
    let (site, [agent, _other]) = site(service().checked());
    for (line, state, weight) in [
        ("75%", "up", 75),
        // What it does not name stays.
        ("drain", "drain", 75),
        ("up 25%", "up", 25),
        ("weight 7 # by hand", "up", 7),
        ("maint", "maint", 7),
        ("ready 100%", "up", 100),
        ("down # disk full", "down", 100),
    ] {
        agent.say(&site, line);
        until_is(&site, state, weight);
    }
    let (asked, other) = (name("web", 1), name("web", 2));
    let reason = shown(&site, &asked)["reason"].to_string();
    assert!(reason.contains("agent") && reason.contains("disk full"), "{reason}");
    until_shown(&site, &other, "up", is_up);
    // Its word outlives it.
    drop(agent);
    let last = shown(&site, &asked)["checks"][0]["at"].as_u64();
    until_shown(&site, &asked, "checked ten times more", |shown| {
        shown["checks"][9]["at"].as_u64() > last
    });
    until_is(&site, "down", 100);
}

#[test]
fn operators_and_agents_do_not_overwrite_each_other() {
    let (site, [agent, _other]) = site(service());
    order(&site, "drain", &[]);
    until_is(&site, "drain", 100);
    agent.say(&site, "up 50%");
    let shown = until_is(&site, "drain", 50);
    assert_eq!(shown["reason"], "drained by the operator", "{shown}");
    agent.say(&site, "drain");
    order(&site, "ready", &[]);
    until_shown(&site, &name("web", 1), "drained by its agent", |shown| {
        shown["state"] == "drain" && shown["reason"].to_string().contains("agent")
    });
    // Nobody asks it meanwhile.
    order(&site, "maint", &[]);
    until_is(&site, "maint", 50);
    order(&site, "ready", &[]);
    agent.say(&site, "up");
    until_is(&site, "up", 50);

    // Percent are those of the operator's weight; a weight of the agent's own yields to that.
    order(&site, "weight", &["40"]);
    until_is(&site, "up", 20);
    agent.say(&site, "weight 7");
    until_is(&site, "up", 40);
    order(&site, "weight", &["--reset"]);
    until_is(&site, "up", 7);
}
