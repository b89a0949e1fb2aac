//! When a check is made, and how its results are counted.

use std::{ops::Range, time::Duration};

use toml::Spanned;

use super::table::Table;
use crate::{
    config::{
        check::fields::{Checked, duration, number, one_of},
        error::Fault,
    },
    model::{HealthCheck, InitialState},
};

/// Shortest interval.
const LEAST: Duration = Duration::from_millis(10);

/// Takes the timing of a table over into a check.
pub(super) fn timing(table: &Table, check: HealthCheck) -> Checked<HealthCheck> {
    let raw = &table.raw;
    let interval = interval(table, "interval", &raw.interval, HealthCheck::DEFAULT_INTERVAL)?;
    let fast_interval = self::interval(table, "fast_interval", &raw.fast_interval, interval)?;
    let down_interval = self::interval(table, "down_interval", &raw.down_interval, interval)?;
    if fast_interval > interval {
        return Err(at(table, "fast_interval", &raw.fast_interval, "must be at most the interval"));
    }
    let row = |raw: &Option<Spanned<i64>>, key: &str, usual| {
        number(raw.clone(), &table.field(key), 1, 1000, usual)
    };
    Ok(HealthCheck {
        interval,
        fast_interval,
        down_interval,
        timeout: timeout(table, [interval, fast_interval, down_interval])?,
        jitter: jitter(table)?,
        rise: row(&raw.rise, "rise", HealthCheck::DEFAULT_RISE)?,
        fall: row(&raw.fall, "fall", HealthCheck::DEFAULT_FALL)?,
        initial: one_of(
            raw.initial.clone(),
            &table.field("initial"),
            &[
                ("first-check", InitialState::FirstCheck),
                ("up", InitialState::Up),
                ("down", InitialState::Down),
            ],
            InitialState::FirstCheck,
        )?,
        ..check
    })
}

fn interval(
    table: &Table,
    key: &str,
    raw: &Option<Spanned<String>>,
    usual: Duration,
) -> Checked<Duration> {
    let interval = duration(raw.clone(), &table.field(key), usual)?;
    if interval < LEAST {
        return Err(at(table, key, raw, "must be at least 10ms"));
    }
    Ok(interval)
}

/// At most the shortest of the intervals, so that checks of a backend never overlap.
fn timeout(table: &Table, [interval, fast, down]: [Duration; 3]) -> Checked<Duration> {
    let raw = &table.raw.timeout;
    let shortest = interval.min(fast).min(down);
    let usual = HealthCheck::DEFAULT_TIMEOUT.min(shortest);
    let timeout = duration(raw.clone(), &table.field("timeout"), usual)?;
    if timeout.is_zero() || timeout > shortest {
        let named = match shortest {
            _ if shortest == interval => "interval",
            _ if shortest == fast => "fast_interval",
            _ => "down_interval",
        };
        let message = format!("must be more than nothing and at most the {named}");
        return Err(at(table, "timeout", raw, &message));
    }
    Ok(timeout)
}

fn jitter(table: &Table) -> Checked<u8> {
    let Some(raw) = &table.raw.jitter else { return Ok(0) };
    let percent = raw.get_ref().strip_suffix('%').and_then(|number| number.trim().parse().ok());
    percent.filter(|percent| *percent <= 50).ok_or_else(|| {
        let message = format!("`{}` is not a share from \"0%\" to \"50%\"", raw.get_ref());
        table.fault(raw, "jitter", message)
    })
}

/// A fault at a key, or at the table where the key is not written.
fn at(table: &Table, key: &str, raw: &Option<Spanned<String>>, message: &str) -> Fault {
    let span: Range<usize> = raw.as_ref().map_or(table.span.clone(), Spanned::span);
    Fault { span, field: table.field(key), message: message.to_owned() }
}
