//! Single fields: from what is written to what is meant, or a fault with its place.

use std::{fmt::Display, net::IpAddr, str::FromStr, time::Duration};

use toml::Spanned;

use crate::config::error::Fault;

pub(super) type Checked<T> = Result<T, Fault>;

pub(super) fn fault<T>(at: &Spanned<T>, field: &str, message: impl Display) -> Fault {
    Fault { span: at.span(), field: field.to_owned(), message: message.to_string() }
}

pub(super) fn parse<T: FromStr>(text: &Spanned<String>, field: &str, expected: &str) -> Checked<T> {
    text.get_ref()
        .parse()
        .map_err(|_| fault(text, field, format!("`{}` is not {expected}", text.get_ref())))
}

/// `::ffff:10.0.0.1` is another way to write `10.0.0.1`; no packet carries it.
pub(super) fn address(text: &Spanned<String>, field: &str) -> Checked<IpAddr> {
    parse(text, field, "an IPv4 or IPv6 address").map(|address: IpAddr| address.to_canonical())
}

pub(super) fn port(raw: &Spanned<i64>, field: &str, least: u16) -> Checked<u16> {
    u16::try_from(*raw.get_ref())
        .ok()
        .filter(|port| *port >= least)
        .ok_or_else(|| fault(raw, field, format!("must be a port from {least} to 65535")))
}

pub(super) fn number(
    raw: Option<Spanned<i64>>,
    field: &str,
    least: u32,
    most: u32,
    default: u32,
) -> Checked<u32> {
    let Some(raw) = raw else { return Ok(default) };
    u32::try_from(*raw.get_ref())
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| fault(&raw, field, format!("must be a number from {least} to {most}")))
}

pub(super) fn duration(
    raw: Option<Spanned<String>>,
    field: &str,
    default: Duration,
) -> Checked<Duration> {
    let Some(raw) = raw else { return Ok(default) };
    humantime::parse_duration(raw.get_ref()).map_err(|_| {
        let message = format!("`{}` is not a duration such as \"500ms\" or \"2s\"", raw.get_ref());
        fault(&raw, field, message)
    })
}

pub(super) fn one_of<T: Copy>(
    raw: Option<Spanned<String>>,
    field: &str,
    choices: &[(&str, T)],
    default: T,
) -> Checked<T> {
    let Some(raw) = raw else { return Ok(default) };
    let found = choices.iter().find(|(word, _)| *word == raw.get_ref());
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        fault(&raw, field, format!("`{}` must be {}", raw.get_ref(), words.join(" or ")))
    })
}

/// A share as text, such as "10%".
pub(super) fn percent(
    raw: Option<Spanned<String>>,
    field: &str,
    least: u8,
    most: u8,
    default: u8,
) -> Checked<u8> {
    let Some(raw) = raw else { return Ok(default) };
    let number = raw.get_ref().strip_suffix('%').and_then(|number| number.trim().parse().ok());
    number.filter(|value| (least..=most).contains(value)).ok_or_else(|| {
        let text = raw.get_ref();
        let message = format!("`{text}` must be whole percent, from \"{least}%\" to \"{most}%\"");
        fault(&raw, field, message)
    })
}

pub(super) fn decimal(
    raw: Option<Spanned<f64>>,
    field: &str,
    (least, most): (f64, f64),
    default: f64,
) -> Checked<f64> {
    let Some(raw) = raw else { return Ok(default) };
    // Not a number is in no range.
    let value = Some(*raw.get_ref()).filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| fault(&raw, field, format!("must be a number from {least} to {most}")))
}
