//! `[service.agent_check]`

use std::time::Duration;

use toml::Spanned;

use super::fields::{Checked, address, duration, fault, port};
use crate::{
    config::{error::Fault, raw},
    model::{AgentCheck, HealthCheck},
};

/// How backends' agents are asked.
pub(super) fn agent_check(raw: Spanned<raw::AgentCheck>) -> Checked<AgentCheck> {
    let span = raw.span();
    let raw = raw.into_inner();
    let place =
        |value: &Option<Spanned<String>>| value.as_ref().map_or(span.clone(), Spanned::span);
    let (interval_at, timeout_at) = (place(&raw.interval), place(&raw.timeout));
    let interval = duration(raw.interval, &field("interval"), HealthCheck::DEFAULT_INTERVAL)?;
    let usual = HealthCheck::DEFAULT_TIMEOUT.min(interval);
    let timeout = duration(raw.timeout, &field("timeout"), usual)?;
    let refused = |at, key, message: &str| {
        Err(Fault { span: at, field: field(key), message: message.to_owned() })
    };
    if interval < LEAST {
        return refused(interval_at, "interval", "must be at least 10ms");
    }
    if timeout.is_zero() || timeout > interval {
        let message = "must be more than nothing and at most the interval";
        return refused(timeout_at, "timeout", message);
    }
    Ok(AgentCheck {
        port: port(&raw.port, &field("port"), 1)?,
        address: raw.address.as_ref().map(one_machine).transpose()?,
        send: raw.send.map_or_else(Vec::new, |send| send.into_inner().into_bytes()),
        interval,
        timeout,
    })
}

/// Shortest interval, as for checks.
const LEAST: Duration = Duration::from_millis(10);

fn field(key: &str) -> String {
    format!("service.agent_check.{key}")
}

fn one_machine(raw: &Spanned<String>) -> Checked<std::net::IpAddr> {
    let key = field("address");
    let address = address(raw, &key)?;
    let is_broadcast = matches!(address, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err(fault(raw, &key, "must be one machine's address"));
    }
    Ok(address)
}
