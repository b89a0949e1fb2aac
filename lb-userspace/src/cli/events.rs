//! `lbctl events`: what has happened, and what happens.

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::IpAddr,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::{Context, Format, output, unexpected};
use crate::{
    api::{
        client,
        protocol::{Answer, Failure, Request},
    },
    event::Told,
    model::{BackendName, ServiceName},
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Also what happens from now on, until Ctrl-C; exit code 3 if lbd ends.
    #[arg(short, long)]
    follow: bool,
    /// Only what happens to this service and its backends.
    #[arg(long, conflicts_with = "backend")]
    service: Option<ServiceName>,
    /// Only what happens to this backend: SERVICE/ADDRESS.
    #[arg(long)]
    backend: Option<BackendName>,
    /// Only what has happened within this time, such as 10m.
    #[arg(long, value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only the last so many of those that have happened already.
    #[arg(short = 'n', long)]
    number: Option<usize>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { follow, since, number, .. } = *arguments;
    if follow {
        end_cleanly();
    }
    let printer = Printer::new(context.format);
    client::converse(&context.socket, &request(arguments), |answer| match answer {
        Answer::Events(events) => {
            if events.lost > 0 && since.is_none() && number.is_none() {
                let message = format!("{} earlier events are not kept any more", events.lost);
                output::warning(context.format, &message);
            }
            let recent = events.events.iter().filter(|told| is_within(told, since));
            let recent: Vec<_> = recent.collect();
            let first = recent.len().saturating_sub(number.unwrap_or(usize::MAX));
            Ok(recent[first..].iter().all(|told| printer.print(told)) && follow)
        }
        Answer::Event(told) => Ok(printer.print(&told)),
        other => Err(unexpected(&other)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn request(arguments: &Arguments) -> Request {
    let (service, backend) = match &arguments.backend {
        Some(name) => (Some(name.service.clone()), Some(name.address)),
        None => (arguments.service.clone(), None::<IpAddr>),
    };
    Request::Events { after: None, service, backend, follow: arguments.follow }
}

fn is_within(told: &Told, since: Option<Duration>) -> bool {
    let age = SystemTime::now().duration_since(time_of(told)).unwrap_or_default();
    since.is_none_or(|since| age <= since)
}

fn time_of(told: &Told) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(told.time_milliseconds)
}

/// Makes Ctrl-C the good end of following: each line is written before the next event is waited for,
/// so nothing is left to do.
fn end_cleanly() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: ends the process without doing anything else, as a signal handler may.
        unsafe { libc::_exit(0) }
    }
    for signal_number in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler does what handlers may.
        let _ = unsafe { signal(signal_number, SigHandler::Handler(end)) };
    }
}

/// Prints events, a line each.
struct Printer {
    format: Format,
    has_colours: bool,
}

const RED: &str = "31";
const GREEN: &str = "32";

impl Printer {
    /// Colours are for terminals whose user does not mind: <https://no-color.org>.
    fn new(format: Format) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { format, has_colours: io::stdout().is_terminal() && !is_unwanted }
    }

    /// Prints a line; false if nobody reads any more (`| head`), which is no error.
    fn print(&self, told: &Told) -> bool {
        let line = match self.format {
            // A document has string keys and finite numbers only, so it can always be written.
            Format::Json => serde_json::to_string(told).unwrap_or_default(),
            Format::Table => self.row(told),
        };
        writeln!(io::stdout(), "{line}").is_ok()
    }

    fn row(&self, told: &Told) -> String {
        let event = &told.event;
        let time = humantime::format_rfc3339_millis(time_of(told));
        let change = match (&event.from, &event.to) {
            (None, None) => String::new(),
            (None, Some(to)) => to.clone(),
            _ => format!("{} -> {}", event.before(), event.now()),
        };
        let colour = match event.now() {
            _ if event.is_bad_news() => Some(RED),
            "up" | "heard" | "off" | "loaded" => Some(GREEN),
            _ => None,
        };
        // Padded before it is coloured: the colour takes no room.
        let change = self.paint(&plain(&format!("{change:<16}")), colour);
        let (kind, subject, reason) = (event.kind, event.subject(), plain(&event.reason));
        format!("{time}  {kind:<15}  {subject:<24}  {change}  {reason}")
    }

    fn paint(&self, text: &str, colour: Option<&str>) -> String {
        match colour {
            Some(colour) if self.has_colours => format!("\x1b[{colour}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// Text of others as one line that does nothing to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind};

    fn told(to: &str) -> Told {
        let event = Event {
            kind: EventKind::BackendState,
            service: Some("web".parse().expect("a name")),
            backend: Some("10.0.1.13".parse().expect("an address")),
            from: Some("up".to_owned()),
            to: Some(to.to_owned()),
            reason: "3 failed checks\x1b[2J".to_owned(),
        };
        Told { version: 1, epoch: 7, sequence: 1, time_milliseconds: 250, event }
    }

    #[test]
    fn a_row_tells_when_what_whom_and_why() {
        let plain = Printer { format: Format::Table, has_colours: false };
        assert_eq!(
            plain.row(&told("down")),
            "1970-01-01T00:00:00.250Z  backend-state    web/10.0.1.13             \
             up -> down        3 failed checks [2J"
        );
        let coloured = Printer { has_colours: true, ..plain };
        assert!(coloured.row(&told("down")).contains("\x1b[31mup -> down      \x1b[0m"));
        assert!(!coloured.row(&told("drain")).contains('\x1b'));
    }

    #[test]
    fn only_the_recent_is_within() {
        assert!(is_within(&told("up"), None));
        assert!(!is_within(&told("up"), Some(Duration::from_secs(60))));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let recent = Told { time_milliseconds: now.as_millis() as u64, ..told("up") };
        assert!(is_within(&recent, Some(Duration::from_secs(60))));
    }
}
