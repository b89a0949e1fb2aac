//! `lbctl status`

use std::process::ExitCode;

use super::{Context, Format, output, unexpected};
use crate::api::protocol::{Answer, Failure, Request, Status};

pub(super) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let status = match context.ask(&Request::Status)? {
        Answer::Status(status) => status,
        other => return Err(unexpected(&other)),
    };
    match context.format {
        Format::Json => output::json(&status),
        Format::Table => print(&status),
    }
    Ok(if status.health == "ok" { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(status: &Status) {
    let fact = |name: &str, text: String| output::line(&format!("{name:<12}{text}"));
    let uptime = output::span(status.uptime_seconds);
    fact("lbd", format!("{} (pid {}), up {uptime}", status.daemon_version, status.pid));
    fact("health", status.health.clone());
    for problem in &status.problems {
        fact("", problem.clone());
    }
    let adopted = if status.adopted { ", tables taken over" } else { "" };
    fact("config", format!("{}{adopted}", status.config_origin));
    if !status.changed_by_operators.is_empty() {
        let names: Vec<String> =
            status.changed_by_operators.iter().map(ToString::to_string).collect();
        let how = "`lbctl service reset` goes back to the configuration";
        fact("operators", format!("changed {}; {how}", names.join(", ")));
    }
    for interface in &status.interfaces {
        let mode = if interface.attached { &interface.mode } else { "not attached" };
        let frames = if interface.jumbo { ", jumbo frames" } else { "" };
        fact("interface", format!("{} {mode}{frames}", interface.name));
    }
    fact("services", status.services.to_string());
    fact("backends", format!("{} of {} take new flows", status.backends_up, status.backends));
    for source in &status.sources {
        let state = match &source.error {
            None => "ok".to_owned(),
            Some(error) => format!("stale for {}: {error}", output::span(source.age_seconds)),
        };
        fact("registry", format!("{}: {state}", source.service));
    }
    let memory = format!(
        "maps {}, lbd {} resident",
        output::mebibytes(status.map_bytes),
        output::mebibytes(status.resident_bytes)
    );
    fact("memory", memory);
    fact("slots", format!("{} of {} in use", status.slots_used, status.slots_capacity));
    let flows = &status.flow_cache;
    fact("flow cache", format!("{} of {} places in use", flows.entries, flows.capacity));
    let counts = format!(
        "{} hits, {} inserts, {} evictions, {} refusals",
        flows.hits, flows.inserts, flows.evictions, flows.refusals
    );
    fact("", counts);
    if status.verdicts.is_empty() {
        return;
    }
    output::line("");
    let row = |verdict: &crate::api::protocol::VerdictCount| {
        vec![verdict.action.clone(), verdict.reason.clone(), verdict.packets.to_string()]
    };
    let rows = status.verdicts.iter().map(row).collect();
    output::table(&["ACTION", "REASON", "PACKETS"], &[2], rows);
}
