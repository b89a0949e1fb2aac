//! `[service.health_check]`

use std::time::Duration;

use toml::Spanned;

use super::fields::{Checked, duration, number, one_of, port};
use crate::{
    config::{error::Fault, raw},
    model::{CheckKind, HealthCheck, Ports},
};

pub(super) fn health_check(raw: Spanned<raw::HealthCheck>, service: Ports) -> Checked<HealthCheck> {
    let span = raw.span();
    let raw = raw.into_inner();
    let kind = one_of(
        Some(raw.kind),
        "service.health_check.type",
        &[("tcp", CheckKind::Tcp)],
        CheckKind::Tcp,
    )?;
    let port = match raw.port {
        Some(text) => port(&text, "service.health_check.port", 1)?,
        None => match service {
            Ports::Exact(port) => port,
            Ports::Every | Ports::Range(..) => {
                let has = if service == Ports::Every { "every port" } else { "a range of ports" };
                return Err(Fault {
                    span,
                    field: "service.health_check.port".to_owned(),
                    message: format!("the service has {has}, so its check must name one"),
                });
            }
        },
    };
    let place =
        |value: &Option<Spanned<String>>| value.as_ref().map_or(span.clone(), Spanned::span);
    let (interval_at, timeout_at) = (place(&raw.interval), place(&raw.timeout));
    let field = "service.health_check";
    let interval =
        duration(raw.interval, &format!("{field}.interval"), HealthCheck::DEFAULT_INTERVAL)?;
    let timeout = duration(
        raw.timeout,
        &format!("{field}.timeout"),
        HealthCheck::DEFAULT_TIMEOUT.min(interval),
    )?;
    let check = HealthCheck {
        kind,
        port,
        interval,
        timeout,
        rise: number(raw.rise, &format!("{field}.rise"), 1, 1000, HealthCheck::DEFAULT_RISE)?,
        fall: number(raw.fall, &format!("{field}.fall"), 1, 1000, HealthCheck::DEFAULT_FALL)?,
    };
    check_health_check(&check).map_err(|(key, message)| Fault {
        span: match key {
            "interval" => interval_at,
            "timeout" => timeout_at,
            _ => span,
        },
        field: format!("{field}.{key}"),
        message: message.to_owned(),
    })?;
    Ok(check)
}

/// What must hold between the fields of a health check; the error names a field.
fn check_health_check(check: &HealthCheck) -> Result<(), (&'static str, &'static str)> {
    if check.interval < Duration::from_millis(10) {
        return Err(("interval", "must be at least 10ms"));
    }
    if check.timeout.is_zero() || check.timeout > check.interval {
        return Err(("timeout", "must be more than nothing and at most the interval"));
    }
    Ok(())
}
