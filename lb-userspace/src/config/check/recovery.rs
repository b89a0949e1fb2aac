//! `[service.recovery]`

use std::time::Duration;

use toml::Spanned;

use super::fields::{Checked, decimal, duration, fault, percent};
use crate::{
    config::{error::Fault, raw},
    model::{Damping, Recovery, SlowStart, Trial},
};

const FIELD: &str = "service.recovery";
/// Longest of all times.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn recovery(raw: Option<Spanned<raw::Recovery>>) -> Checked<Recovery> {
    let Some(raw) = raw else { return Ok(Recovery::default()) };
    let mut raw = raw.into_inner();
    Ok(Recovery {
        slow_start: slow_start(&mut raw)?,
        trial: trial(&mut raw)?,
        hold_down: hold_down(raw.hold_down.take())?,
        damping: damping(&mut raw)?,
    })
}

fn slow_start(raw: &mut raw::Recovery) -> Checked<Option<SlowStart>> {
    let Some(time) = raw.slow_start.take() else {
        needs(raw.slow_start_from.as_ref(), "slow_start_from", "slow_start")?;
        needs(raw.slow_start_aggression.as_ref(), "slow_start_aggression", "slow_start")?;
        return Ok(None);
    };
    let duration = positive(&time, "slow_start")?;
    let from = percent(raw.slow_start_from.take(), &key("slow_start_from"), 1, 100, 10)?;
    let aggression = raw.slow_start_aggression.take();
    let aggression = decimal(aggression, &key("slow_start_aggression"), (0.1, 10.0), 1.0)?;
    Ok(Some(SlowStart { duration, from, aggression }))
}

fn trial(raw: &mut raw::Recovery) -> Checked<Option<Trial>> {
    let Some(time) = raw.trial.take() else {
        needs(raw.trial_weight.as_ref(), "trial_weight", "trial")?;
        return Ok(None);
    };
    let duration = positive(&time, "trial")?;
    let weight = percent(raw.trial_weight.take(), &key("trial_weight"), 1, 100, 5)?;
    Ok(Some(Trial { duration, weight }))
}

fn damping(raw: &mut raw::Recovery) -> Checked<Option<Damping>> {
    let Some(limit_at) = raw.flap_limit.take() else {
        needs(raw.flap_reuse.as_ref(), "flap_reuse", "flap_limit")?;
        needs(raw.flap_half_life.as_ref(), "flap_half_life", "flap_limit")?;
        needs(raw.flap_longest.as_ref(), "flap_longest", "flap_limit")?;
        return Ok(None);
    };
    let limit = decimal(Some(limit_at.clone()), &key("flap_limit"), (1.0, 1000.0), 0.0)?;
    let reuse_at = raw.flap_reuse.clone().unwrap_or_else(|| limit_at.clone());
    let reuse = decimal(raw.flap_reuse.take(), &key("flap_reuse"), (0.1, 1000.0), limit / 3.0)?;
    if reuse >= limit {
        return Err(fault(&reuse_at, &key("flap_reuse"), "must be less than flap_limit"));
    }
    let half_life = raw.flap_half_life.take();
    let half_life = half_life.map(|time| positive(&time, "flap_half_life")).transpose()?;
    let half_life = half_life.unwrap_or(Duration::from_secs(60));
    let longest = raw.flap_longest.take();
    let longest = longest.map(|time| positive(&time, "flap_longest")).transpose()?;
    let longest = longest.unwrap_or(half_life * 4);
    let damping = Damping { limit, reuse, half_life, longest };
    if damping.ceiling() < limit {
        let message = "is too short: so many points as flap_limit fade within it, so that nobody \
                       would be kept out";
        return Err(fault(&limit_at, &key("flap_longest"), message));
    }
    Ok(Some(damping))
}

fn hold_down(raw: Option<Spanned<String>>) -> Checked<Duration> {
    let Some(at) = raw.clone() else { return Ok(Duration::ZERO) };
    let time = duration(raw, &key("hold_down"), Duration::ZERO)?;
    if time > LONGEST {
        return Err(fault(&at, &key("hold_down"), "must be at most a day"));
    }
    Ok(time)
}

fn positive(raw: &Spanned<String>, name: &str) -> Checked<Duration> {
    let time = duration(Some(raw.clone()), &key(name), Duration::ZERO)?;
    if time.is_zero() || time > LONGEST {
        return Err(fault(raw, &key(name), "must be more than nothing and at most a day"));
    }
    Ok(time)
}

fn needs<T>(raw: Option<&Spanned<T>>, name: &str, other: &str) -> Result<(), Fault> {
    raw.map_or(Ok(()), |raw| Err(fault(raw, &key(name), format!("means nothing without {other}"))))
}

fn key(name: &str) -> String {
    format!("{FIELD}.{name}")
}
