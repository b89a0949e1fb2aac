//! `lbctl diff FILE`

use std::process::ExitCode;

use super::{Context, Format, file, output, unexpected};
use crate::api::{
    difference::{Change, Difference, MovementItem, ServiceDifference},
    protocol::{Answer, Failure, Request},
};

pub(super) fn run(context: &Context, arguments: &file::Arguments) -> Result<ExitCode, Failure> {
    let (file, text) = arguments.read()?;
    match context.ask(&Request::Diff { file, text })? {
        Answer::Difference(difference) if context.format == Format::Json => {
            output::json(&difference);
        }
        Answer::Difference(difference) => print(&difference),
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(difference: &Difference) {
    let rows = difference.services.iter().map(row).collect();
    let header = ["SERVICE", "CHANGE", "BACKENDS", "SLOTS", "MOVE", "LEAST", "WHAT"];
    output::table(&header, &[3, 4, 5], rows);
    for service in &difference.services {
        let named = |sign: char, addresses: &[std::net::IpAddr]| {
            for address in addresses {
                output::line(&format!("{sign} {}/{address}", service.name));
            }
        };
        named('-', &service.backends_removed);
        named('+', &service.backends_added);
    }
}

fn row(service: &ServiceDifference) -> Vec<String> {
    let number = |read: fn(&MovementItem) -> u32| {
        service.movement.as_ref().map_or_else(|| "-".to_owned(), |item| read(item).to_string())
    };
    let backends = match (service.backends_added.len(), service.backends_removed.len()) {
        (0, 0) => "-".to_owned(),
        (added, removed) => format!("+{added} -{removed}"),
    };
    let what = match service.change {
        Change::Changed if !service.fields.is_empty() => service.fields.join(", "),
        Change::Changed if backends == "-" => "weights".to_owned(),
        _ => "-".to_owned(),
    };
    vec![
        service.name.to_string(),
        service.change.name().to_owned(),
        backends,
        number(|item| item.slots),
        number(|item| item.moved),
        number(|item| item.least),
        what,
    ]
}
