//! `lbctl backend …`

use std::process::ExitCode;

use clap::Subcommand;

use super::{Context, Format, output, unexpected};
use crate::{
    api::protocol::{Answer, BackendItem, CheckItem, Failure, Request},
    control::Mode,
    model::{BackendName, DEFAULT_WEIGHT, Priority, ServiceName, Weight},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The backends of all services, or of one.
    List {
        /// Only this service's.
        service: Option<ServiceName>,
    },
    /// One backend and why it is as it is.
    Show {
        /// SERVICE/ADDRESS
        name: BackendName,
    },
    /// A new backend; it survives restarts.
    Add {
        /// SERVICE/ADDRESS
        name: BackendName,
        /// Its share in proportion to the others' weights.
        #[arg(long, default_value_t = DEFAULT_WEIGHT)]
        weight: Weight,
        /// Backends with the lowest number serve, the others stand by for them.
        #[arg(long, default_value_t = 0)]
        priority: Priority,
    },
    /// Removes a backend; what becomes of its flows its service's on_remove says.
    Remove {
        /// SERVICE/ADDRESS
        name: BackendName,
    },
    /// No new flows; those that it has stay, unless its service's on_drain says otherwise.
    Drain {
        /// SERVICE/ADDRESS
        name: BackendName,
    },
    /// Takes traffic again, as far as its health allows.
    Ready {
        /// SERVICE/ADDRESS
        name: BackendName,
    },
    /// No new flows and no checks; what becomes of its flows its service's on_down says.
    Maint {
        /// SERVICE/ADDRESS
        name: BackendName,
    },
    /// A weight in place of the configured one.
    Weight {
        /// SERVICE/ADDRESS
        name: BackendName,
        /// The weight; 0 takes no new flows.
        #[arg(required_unless_present = "reset", conflicts_with = "reset")]
        weight: Option<Weight>,
        /// Goes back to the configured weight.
        #[arg(long)]
        reset: bool,
    },
}

pub(super) fn run(context: &Context, verb: Verb) -> Result<ExitCode, Failure> {
    let is_one = matches!(verb, Verb::Show { .. });
    match context.ask(&request(verb))? {
        Answer::Done(message) => output::done(context.format, &message),
        Answer::Backends(backends) if context.format == Format::Json => output::json(&backends),
        Answer::Backends(backends) if is_one => backends.backends.iter().for_each(show),
        Answer::Backends(backends) => list(&backends.backends),
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

fn request(verb: Verb) -> Request {
    match verb {
        Verb::List { service } => Request::Backends { service },
        Verb::Show { name } => Request::Backend { name },
        Verb::Add { name, weight, priority } => Request::AddBackend { name, weight, priority },
        Verb::Remove { name } => Request::RemoveBackend { name },
        Verb::Drain { name } => Request::SetMode { name, mode: Mode::Drain },
        Verb::Ready { name } => Request::SetMode { name, mode: Mode::Ready },
        Verb::Maint { name } => Request::SetMode { name, mode: Mode::Maint },
        Verb::Weight { name, weight, .. } => Request::SetWeight { name, weight },
    }
}

/// Prints backends as a table.
pub(super) fn list(backends: &[BackendItem]) {
    let row = |backend: &BackendItem| {
        vec![
            format!("{}/{}", backend.service, backend.address),
            backend.state.to_string(),
            backend.weight.to_string(),
            format!("{:.1}%", backend.slots_share * 100.0),
            output::short(backend.packets),
            output::short(backend.bytes),
            output::short(backend.new_flows),
            backend.reason.clone(),
        ]
    };
    let header = ["BACKEND", "STATE", "WEIGHT", "SHARE", "PACKETS", "BYTES", "FLOWS", "WHY"];
    output::table(&header, &[2, 3, 4, 5, 6], backends.iter().map(row).collect());
}

fn show(backend: &BackendItem) {
    let fact = |name: &str, text: String| output::line(&format!("{name:<10}{text}"));
    let lower = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    fact("backend", format!("{}/{}", backend.service, backend.address));
    let port = backend.port.map(|port| port.to_string());
    fact("port", port.unwrap_or_else(|| "the one that clients reach".to_owned()));
    fact("state", format!("{}: {}", backend.state, backend.reason));
    fact("since", since(backend.since));
    fact("weight", format!("{} (configured {})", backend.weight, backend.configured_weight));
    if backend.priority > 0 {
        fact("priority", backend.priority.to_string());
    }
    load(backend).into_iter().for_each(|load| fact("load", load));
    fact("operator", lower(&backend.mode));
    fact("origin", lower(&backend.origin));
    let health = backend.health.as_deref().unwrap_or("not checked");
    let took =
        backend.check_milliseconds.map(|took| format!(", last passed check took {took:.1} ms"));
    fact("health", format!("{health}{}", took.unwrap_or_default()));
    backend.agent.iter().for_each(|agent| fact("agent", agent.clone()));
    backend.agent_failure.iter().for_each(|failure| fact("agent", unheard(backend, failure)));
    backend.traffic.iter().for_each(|traffic| fact("suspicion", traffic.clone()));
    fact("share", format!("{:.2} % of the slots", backend.slots_share * 100.0));
    fact("next hop", backend.next_hop.clone());
    let traffic = format!(
        "{} packets, {} bytes, {} new flows",
        backend.packets, backend.bytes, backend.new_flows
    );
    fact("traffic", traffic);
    checks(&backend.checks);
}

/// Why an agent is not heard, and since when.
fn unheard(backend: &BackendItem, failure: &str) -> String {
    let heard = backend.agent_heard.map_or_else(|| "never".to_owned(), since);
    format!("not heard ({failure}), last heard: {heard}")
}

/// The last checks, the latest first.
fn checks(checks: &[CheckItem]) {
    if checks.is_empty() {
        return;
    }
    let row = |check: &CheckItem| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(check.at);
        let took = check.milliseconds.map(|took| format!("{took:.1} ms")).unwrap_or_default();
        let time = humantime::format_rfc3339_millis(at).to_string();
        vec![time, check.code.clone(), took, check.failure.clone().unwrap_or_default()]
    };
    output::line("");
    output::table(&["CHECKED", "RESULT", "TOOK", "WHY"], &[2], checks.iter().map(row).collect());
}

/// How busy it is, where the scheduler asks.
fn load(backend: &BackendItem) -> Option<String> {
    let flows = format!("{} flows in progress", backend.flows?);
    let latency = backend.latency_microseconds.map(|latency| f64::from(latency) / 1000.0);
    let latency = latency.map(|latency| format!(", answers within {latency:.1} ms"));
    Some(flows + &latency.unwrap_or_default())
}

fn since(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let ago = at.elapsed().map(|ago| output::span(ago.as_secs())).unwrap_or_default();
    format!("{} ({ago} ago)", humantime::format_rfc3339_seconds(at))
}
