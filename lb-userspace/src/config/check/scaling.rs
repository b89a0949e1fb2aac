//! `[service.scaling]`

use std::time::Duration;

use toml::Spanned;

use super::fields::{Checked, decimal, duration, fault, number, one_of, percent};
use crate::{
    config::raw,
    model::{Measure, Scaling, Scheduler},
};

const FIELD: &str = "service.scaling";

pub(super) fn scaling(
    raw: Option<Spanned<raw::Scaling>>,
    scheduler: Scheduler,
) -> Checked<Option<Scaling>> {
    let Some(raw) = raw else { return Ok(None) };
    let raw = raw.into_inner();
    let measure = measure(raw.measure, scheduler)?;
    let max_at = raw.max.clone();
    let min = number(raw.min, &key("min"), 1, 65_535, Scaling::DEFAULT_MIN)?;
    let max = number(raw.max, &key("max"), 1, 65_535, Scaling::DEFAULT_MAX.max(min))?;
    if let Some(at) = max_at.filter(|_| max < min) {
        return Err(fault(&at, &key("max"), format!("must be at least min, which is {min}")));
    }
    Ok(Some(Scaling {
        measure,
        per_backend: decimal(Some(raw.per_backend), &key("per_backend"), (0.001, 1e15), 0.0)?,
        target: percent(raw.target, &key("target"), 1, 100, Scaling::DEFAULT_TARGET)?,
        min,
        max,
        horizon: time(raw.horizon, "horizon", (10, 60 * 60), Scaling::DEFAULT_HORIZON)?,
        cooldown: time(raw.cooldown, "cooldown", (0, 24 * 60 * 60), Scaling::DEFAULT_COOLDOWN)?,
        tolerance: percent(raw.tolerance, &key("tolerance"), 0, 50, Scaling::DEFAULT_TOLERANCE)?,
    }))
}

fn measure(raw: Spanned<String>, scheduler: Scheduler) -> Checked<Measure> {
    let at = raw.clone();
    let measure = one_of(Some(raw), &key("measure"), &Measure::NAMES, Measure::NewFlows)?;
    if measure == Measure::Flows && !scheduler.in_packets().counts_flows() {
        let message = "flows in progress are counted only where the scheduler asks for them, as \
                       \"least-connections\" does";
        return Err(fault(&at, &key("measure"), message));
    }
    Ok(measure)
}

/// A time within so many seconds.
fn time(
    raw: Option<Spanned<String>>,
    name: &str,
    (least, most): (u64, u64),
    default: Duration,
) -> Checked<Duration> {
    let Some(raw) = raw else { return Ok(default) };
    let time = duration(Some(raw.clone()), &key(name), default)?;
    let [least, most] = [least, most].map(Duration::from_secs);
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let [least, most] = [least, most].map(humantime::format_duration);
    Err(fault(&raw, &key(name), format!("must be from {least} to {most}")))
}

fn key(name: &str) -> String {
    format!("{FIELD}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(scheduler: &str, scaling: &str) -> Result<Option<Scaling>, String> {
        let text = format!(
            "[daemon]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\n\
             port = 80\nforward = \"l2\"\nscheduler = \"{scheduler}\"\n[service.scaling]\n{scaling}"
        );
        let config = Config::parse("lb.toml", &text).map_err(|error| error.to_string())?;
        Ok(config.services[0].scaling)
    }

    #[test]
    fn little_has_to_be_said() {
        let found = parse("random", "measure = \"packets\"\nper_backend = 5000").expect("good");
        let expected = Scaling {
            measure: Measure::Packets,
            per_backend: 5000.0,
            target: 80,
            min: 1,
            max: 1000,
            horizon: Duration::from_secs(300),
            cooldown: Duration::from_secs(600),
            tolerance: 10,
        };
        assert_eq!(found, Some(expected));
        let all = "measure = \"flows\"\nper_backend = 0.5\ntarget = \"70%\"\nmin = 2\nmax = 4\n\
                   horizon = \"1m\"\ncooldown = \"0s\"\ntolerance = \"0%\"";
        let found = parse("least-connections", all).expect("good").expect("said");
        assert_eq!((found.measure, found.target, found.min, found.max), (Measure::Flows, 70, 2, 4));
        assert_eq!((found.cooldown, found.tolerance), (Duration::ZERO, 0));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (scaling, field) in [
            ("measure = \"flows\"\nper_backend = 1", "measure"),
            ("measure = \"load\"\nper_backend = 1", "measure"),
            ("measure = \"bytes\"\nper_backend = 0", "per_backend"),
            ("measure = \"bytes\"\nper_backend = nan", "per_backend"),
            ("measure = \"bytes\"\nper_backend = 1\nmin = 0", "min"),
            ("measure = \"bytes\"\nper_backend = 1\nmin = 5\nmax = 4", "max"),
            ("measure = \"bytes\"\nper_backend = 1\ntarget = \"0%\"", "target"),
            ("measure = \"bytes\"\nper_backend = 1\nhorizon = \"1s\"", "horizon"),
            ("measure = \"bytes\"\nper_backend = 1\ncooldown = \"2d\"", "cooldown"),
            ("measure = \"bytes\"\nper_backend = 1\ntolerance = \"51%\"", "tolerance"),
        ] {
            let error = parse("consistent-hash", scaling).expect_err(scaling);
            assert!(error.contains(&format!("service.scaling.{field}")), "{error}");
        }
    }
}
