//! `on_drain`, `on_down`, `on_remove` and their time-outs.

use std::time::Duration;

use lb_common::Forward;
use toml::Spanned;

use super::{
    fields::{Checked, duration, fault, one_of},
    policy::Facts,
};
use crate::{
    config::raw,
    model::{FlowEnd, FlowRule, FlowRules, Protocol, UdpFlows},
};

/// One rule as it is written.
struct Written {
    /// Name of the event: `drain`, `down` or `remove`.
    event: &'static str,
    action: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
}

#[derive(Clone, Copy)]
enum Action {
    Keep,
    End(FlowEnd),
}

/// Takes out of a service what becomes of flows whose backend takes no new ones any more.
pub(super) fn flow_rules(
    raw: &mut raw::Service,
    facts: &Facts,
    udp_flows: &UdpFlows,
) -> Checked<FlowRules> {
    let drain = written("drain", raw.on_drain.take(), raw.drain_timeout.take());
    let down = written("down", raw.on_down.take(), raw.down_timeout.take());
    let remove = written("remove", raw.on_remove.take(), raw.remove_timeout.take());
    let is_forgotten = facts.protocol == Protocol::Udp
        && facts.forward != Forward::Nat
        && *udp_flows == UdpFlows::Hash;
    if is_forgotten {
        [&drain, &down, &remove].into_iter().try_for_each(refuse)?;
        return Ok(FlowRules::RESELECT);
    }
    let usual = FlowRules::usual(facts.protocol);
    Ok(FlowRules {
        drain: rule(drain, facts.protocol, usual.drain)?,
        down: rule(down, facts.protocol, usual.down)?,
        remove: rule(remove, facts.protocol, usual.remove)?,
    })
}

const fn written(
    event: &'static str,
    action: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
) -> Written {
    Written { event, action, timeout }
}

/// Without a memory there are no flows to do anything with.
fn refuse(written: &Written) -> Checked<()> {
    let message = "flows of UDP that go by their hash follow the table: write udp_flows = \
                   \"remember\", or leave this out";
    if let Some(timeout) = &written.timeout {
        return Err(fault(timeout, &timeout_field(written.event), message));
    }
    match &written.action {
        Some(action) if action.get_ref() != FlowEnd::Reselect.name() => {
            Err(fault(action, &action_field(written.event), message))
        }
        _ => Ok(()),
    }
}

fn rule(written: Written, protocol: Protocol, usual: FlowRule) -> Checked<FlowRule> {
    let choices = [
        ("keep", Action::Keep),
        ("reselect", Action::End(FlowEnd::Reselect)),
        ("reset", Action::End(FlowEnd::Reset)),
    ];
    let usual_action = match usual {
        FlowRule::Keep { .. } => Action::Keep,
        FlowRule::End(end) => Action::End(end),
    };
    let event = written.event;
    let action = one_of(written.action, &action_field(event), &choices, usual_action)?;
    let timeout = timeout(written.timeout, event, action)?;
    Ok(match action {
        Action::End(end) => FlowRule::End(end),
        Action::Keep => {
            let usual_timeout = match usual {
                FlowRule::Keep { timeout, .. } => timeout,
                FlowRule::End(_) => usual_timeout(event),
            };
            FlowRule::Keep { timeout: timeout.or(usual_timeout), then: FlowEnd::of(protocol) }
        }
    })
}

/// For how long flows stay that usually do not.
fn usual_timeout(event: &str) -> Option<Duration> {
    match event {
        "down" => Some(FlowRules::DOWN_TIMEOUT),
        "remove" => Some(FlowRules::REMOVE_TIMEOUT),
        _ => None,
    }
}

fn timeout(raw: Option<Spanned<String>>, event: &str, action: Action) -> Checked<Option<Duration>> {
    let Some(at) = raw.clone() else { return Ok(None) };
    let field = timeout_field(event);
    if matches!(action, Action::End(_)) {
        let message =
            format!("only flows that are kept have a time-out: write on_{event} = \"keep\"");
        return Err(fault(&at, &field, message));
    }
    let timeout = duration(raw, &field, Duration::ZERO)?;
    if timeout.is_zero() {
        let message = format!(
            "must be more than nothing: write on_{event} = \"reset\" or \"reselect\" to end flows \
             at once"
        );
        return Err(fault(&at, &field, message));
    }
    Ok(Some(timeout))
}

fn action_field(event: &str) -> String {
    format!("service.on_{event}")
}

fn timeout_field(event: &str) -> String {
    format!("service.{event}_timeout")
}
