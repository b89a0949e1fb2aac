//! The words of scenarios: numbers, times, names.

use std::{fmt, str::FromStr, time::Duration};

use super::{Backend, Balancer};

/// A time as scenarios write it: `250ms`, `1.5s`, `2m`.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        if milliseconds.is_multiple_of(1000) {
            write!(f, "{}s", milliseconds / 1000)
        } else {
            write!(f, "{milliseconds}ms")
        }
    }
}

pub(super) fn time(word: &str) -> Result<Duration, String> {
    let problem = || format!("`{word}` is no time: `250ms`, `1.5s` and `2m` are");
    let end = word.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(problem)?;
    let (digits, unit) = word.split_at(end);
    let number: f64 = digits.parse().map_err(|_| problem())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => return Err(problem()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| problem())
}

/// A number within bounds.
pub(super) fn number<T>(word: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let problem = || format!("`{word}` is no number from {least} to {most}");
    let number: T = word.replace('_', "").parse().map_err(|_| problem())?;
    if number < least || number > most { Err(problem()) } else { Ok(number) }
}

/// Toggles per second, `2Hz`, as the time of one of them.
pub(super) fn period(word: &str) -> Result<Duration, String> {
    let problem = || format!("`{word}` is no frequency: `2Hz` and `0.5Hz` are");
    let hertz: f64 = word.strip_suffix("Hz").and_then(|n| n.parse().ok()).ok_or_else(problem)?;
    if (0.01..=100.0).contains(&hertz) {
        Ok(Duration::from_secs_f64(1.0 / hertz))
    } else {
        Err(format!("`{word}`: frequencies are from 0.01Hz to 100Hz"))
    }
}

pub(super) fn backend(word: &str) -> Result<Backend, String> {
    let number = word.strip_prefix("be").and_then(|digits| digits.parse().ok());
    number
        .filter(|number| (1..=Backend::LAST).contains(number))
        .map(Backend)
        .ok_or_else(|| format!("`{word}` is no backend: be1 to be{} are", Backend::LAST))
}

pub(super) fn balancer(word: &str) -> Result<Balancer, String> {
    match word {
        "lb1" => Ok(Balancer::First),
        "lb2" => Ok(Balancer::Second),
        _ => Err(format!("`{word}` is no balancer: lb1 and lb2 are")),
    }
}
