//! `[service.outlier]`

use std::time::Duration;

use toml::Spanned;

use super::fields::{Checked, decimal, duration, fault, number, percent};
use crate::{config::raw, model::OutlierSettings};

const FIELD: &str = "service.outlier";
const USUAL: OutlierSettings = OutlierSettings::USUAL;

pub(super) fn outlier(raw: Option<Spanned<raw::Outlier>>) -> Checked<OutlierSettings> {
    let Some(raw) = raw else { return Ok(OutlierSettings::OFF) };
    let raw = raw.into_inner();
    let (base, most) = ejection_times(raw.base_ejection_time, raw.max_ejection_time)?;
    Ok(OutlierSettings {
        consecutive_failures: number(
            raw.consecutive_failures,
            &key("consecutive_failures"),
            0,
            1000,
            USUAL.consecutive_failures,
        )?,
        failure_rate: percent(raw.failure_rate, &key("failure_rate"), 0, 100, USUAL.failure_rate)?,
        failure_window: time(raw.failure_window, "failure_window", 600, USUAL.failure_window)?,
        failure_attempts: number(
            raw.failure_attempts,
            &key("failure_attempts"),
            1,
            1_000_000,
            USUAL.failure_attempts,
        )?,
        latency_factor: factor(raw.latency_factor)?,
        latency_least: duration(raw.latency_least, &key("latency_least"), USUAL.latency_least)?,
        drift: raw.drift.unwrap_or(USUAL.drift),
        learned: raw.learned.unwrap_or(USUAL.learned),
        base_ejection_time: base,
        max_ejection_time: most,
        max_ejected: percent(raw.max_ejected, &key("max_ejected"), 0, 100, USUAL.max_ejected)?,
    })
}

/// In hundredths. What is hardly slower is no outlier.
fn factor(raw: Option<Spanned<f64>>) -> Checked<u32> {
    const LEAST: f64 = 1.1;

    let Some(raw) = raw else { return Ok(USUAL.latency_factor) };
    let field = key("latency_factor");
    let factor = decimal(Some(raw.clone()), &field, (0.0, 100.0), 0.0)?;
    if factor > 0.0 && factor < LEAST {
        return Err(fault(&raw, &field, format!("must be 0, or a number from {LEAST} to 100")));
    }
    Ok((factor * 100.0).round() as u32)
}

fn ejection_times(
    base: Option<Spanned<String>>,
    most: Option<Spanned<String>>,
) -> Checked<(Duration, Duration)> {
    const DAY: u64 = 24 * 60 * 60;

    let at = most.clone();
    let base = time(base, "base_ejection_time", DAY, USUAL.base_ejection_time)?;
    let usual = USUAL.max_ejection_time.max(base);
    let most = time(most, "max_ejection_time", DAY, usual)?;
    match at {
        Some(at) if most < base => {
            let base = humantime::format_duration(base);
            let message = format!("must be at least base_ejection_time, which is {base}");
            Err(fault(&at, &key("max_ejection_time"), message))
        }
        _ => Ok((base, most)),
    }
}

/// A time from a second to so many.
fn time(
    raw: Option<Spanned<String>>,
    name: &str,
    most: u64,
    default: Duration,
) -> Checked<Duration> {
    let Some(raw) = raw else { return Ok(default) };
    let time = duration(Some(raw.clone()), &key(name), default)?;
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(most));
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let most = humantime::format_duration(most);
    Err(fault(&raw, &key(name), format!("must be from 1s to {most}")))
}

fn key(name: &str) -> String {
    format!("{FIELD}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(outlier: &str) -> Result<OutlierSettings, String> {
        let text = format!(
            "[daemon]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\n\
             port = 80\nforward = \"l2\"\n{outlier}"
        );
        let config = Config::parse("lb.toml", &text).map_err(|error| error.to_string())?;
        Ok(config.services[0].outlier)
    }

    #[test]
    fn nothing_is_off_and_an_empty_table_is_what_is_usual() {
        assert_eq!(parse(""), Ok(OutlierSettings::OFF));
        assert_eq!(parse("[service.outlier]\n"), Ok(OutlierSettings::USUAL));
    }

    #[test]
    fn every_key_has_its_place() {
        let all = "[service.outlier]\nconsecutive_failures = 7\nfailure_rate = \"30%\"\n\
                   failure_window = \"20s\"\nfailure_attempts = 50\nlatency_factor = 2.5\n\
                   latency_least = \"2ms\"\ndrift = false\nlearned = true\n\
                   base_ejection_time = \"10s\"\nmax_ejection_time = \"1m\"\nmax_ejected = \"25%\"";
        let expected = OutlierSettings {
            consecutive_failures: 7,
            failure_rate: 30,
            failure_window: Duration::from_secs(20),
            failure_attempts: 50,
            latency_factor: 250,
            latency_least: Duration::from_millis(2),
            drift: false,
            learned: true,
            base_ejection_time: Duration::from_secs(10),
            max_ejection_time: Duration::from_secs(60),
            max_ejected: 25,
        };
        assert_eq!(parse(all), Ok(expected));
        let off = "[service.outlier]\nconsecutive_failures = 0\nfailure_rate = \"0%\"\n\
                   latency_factor = 0\ndrift = false";
        assert!(parse(off).expect("good").is_off());
        let long = parse("[service.outlier]\nbase_ejection_time = \"1h\"").expect("good");
        assert_eq!(long.max_ejection_time, Duration::from_secs(3600));
    }

    #[test]
    fn faults_name_their_key() {
        let cases = [
            (
                "failure_rate = \"101%\"",
                "failure_rate: `101%` must be whole percent, from \"0%\" to \"100%\"",
            ),
            ("failure_window = \"999ms\"", "failure_window: must be from 1s to 10m"),
            ("failure_attempts = 0", "failure_attempts: must be a number from 1 to 1000000"),
            ("latency_factor = 1.05", "latency_factor: must be 0, or a number from 1.1 to 100"),
            ("latency_factor = nan", "latency_factor: must be a number from 0 to 100"),
            ("base_ejection_time = \"0s\"", "base_ejection_time: must be from 1s to 1day"),
            (
                "max_ejection_time = \"5s\"",
                "max_ejection_time: must be at least base_ejection_time, which is 30s",
            ),
            ("consecutive = 5", "unknown field `consecutive`"),
        ];
        for (line, message) in cases {
            let error = parse(&format!("[service.outlier]\n{line}")).expect_err(line);
            assert!(error.contains(message) && error.starts_with("lb.toml:9: service."), "{error}");
        }
    }
}
