//! What a service asks for beyond sending packets to backends.

mod sources;
mod udp;

use lb_common::Forward;
use toml::Spanned;

use super::fields::{Checked, fault, number, one_of};
use crate::{
    config::raw,
    model::{
        BadFlowRate, FlowLimit, FlowRate, Fragments, NoBackend, Ping, Policy, Protocol, Scheduler,
        UdpFlows, Vip,
    },
};

/// What is known of the service already.
pub(super) struct Facts {
    pub(super) vip: Vip,
    pub(super) protocol: Protocol,
    pub(super) forward: Forward,
}

/// Takes a policy out of a service, with the identifiers of its backends.
pub(super) fn policy(
    raw: &mut raw::Service,
    facts: &Facts,
    scheduler: Scheduler,
) -> Checked<Policy> {
    let sources = sources::sources(raw.allow.take(), raw.deny.take(), facts.vip)?;
    let udp_flows = udp::udp_flows(raw, facts, scheduler)?;
    let limits_at = [&raw.max_new_flows, &raw.max_new_flows_per_source];
    let begins = facts.protocol == Protocol::Tcp
        || facts.forward == Forward::Nat
        || matches!(udp_flows, UdpFlows::Remember(_));
    if let Some(limit) = limits_at.into_iter().flatten().next()
        && !begins
    {
        let message = "only flows that are remembered are known to begin: write udp_flows = \
                       \"remember\", or leave this out";
        return Err(fault(limit, limit_field(raw.max_new_flows.is_some()), message));
    }
    Ok(Policy {
        sources,
        max_new_flows: limit(
            raw.max_new_flows.take(),
            raw.new_flow_burst.take(),
            ["service.max_new_flows", "service.new_flow_burst"],
        )?,
        max_new_flows_per_source: limit(
            raw.max_new_flows_per_source.take(),
            raw.new_flow_burst_per_source.take(),
            ["service.max_new_flows_per_source", "service.new_flow_burst_per_source"],
        )?,
        no_backend: one_of(
            raw.no_backend.take(),
            "service.no_backend",
            &[("drop", NoBackend::Drop), ("refuse", NoBackend::Refuse)],
            NoBackend::Drop,
        )?,
        fragments: fragments(raw.fragments.take(), facts, &udp_flows, scheduler)?,
        udp_flows,
        ping: one_of(
            raw.ping.take(),
            "service.ping",
            &[
                ("pass", Some(Ping::Pass)),
                ("answer", Some(Ping::Answer)),
                ("backend", Some(Ping::Backend)),
            ],
            None,
        )?,
    })
}

const fn limit_field(is_in_all: bool) -> &'static str {
    if is_in_all { "service.max_new_flows" } else { "service.max_new_flows_per_source" }
}

fn limit(
    rate: Option<Spanned<String>>,
    burst: Option<Spanned<i64>>,
    [rate_field, burst_field]: [&str; 2],
) -> Checked<Option<FlowLimit>> {
    /// A bucket has 24 bits.
    const MOST: u32 = (1 << 24) - 1;

    let Some(text) = rate else {
        let missing = format!("needs {}", rate_field.trim_start_matches("service."));
        return burst.map_or(Ok(None), |burst| Err(fault(&burst, burst_field, missing)));
    };
    let rate: FlowRate = text.get_ref().parse().map_err(|error: BadFlowRate| {
        fault(&text, rate_field, format!("`{}` {error}", text.get_ref()))
    })?;
    let burst = number(burst, burst_field, 1, MOST, rate.usual_burst())?;
    Ok(Some(FlowLimit { rate, burst }))
}

fn fragments(
    raw: Option<Spanned<String>>,
    facts: &Facts,
    udp_flows: &UdpFlows,
    scheduler: Scheduler,
) -> Checked<Fragments> {
    let field = "service.fragments";
    let Some(raw) = raw else { return Ok(Fragments::Track) };
    let choices = [("track", Fragments::Track), ("by-address", Fragments::ByAddress)];
    let chosen = one_of(Some(raw.clone()), field, &choices, Fragments::Track)?;
    let other = match (facts.forward, udp_flows) {
        (Forward::Nat, _) => "forward = \"nat\"".to_owned(),
        (_, UdpFlows::Quic { .. }) => "udp_flows = \"quic\"".to_owned(),
        _ if scheduler.remembers() && scheduler.affinity().is_none() => {
            format!("scheduler = \"{}\"", scheduler.name())
        }
        _ => return Ok(chosen),
    };
    if chosen == Fragments::ByAddress {
        let message = format!("{other} tells flows apart by more than the client's address");
        return Err(fault(&raw, field, message));
    }
    Ok(chosen)
}
