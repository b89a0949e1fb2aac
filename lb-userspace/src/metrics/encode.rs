//! From a report to text.

mod backends;
mod checker;
mod daemon;
mod datapath;
mod events;
mod services;

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry};

use super::{Format, Report, classic, families::Families};

/// Writes a report. Ten thousand backends take 25 MB and some 60 ms: not for a thread in a hurry.
#[must_use]
pub fn encode(report: Report, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ReportCollector(report)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("nothing here fails, and a String takes everything");
    match format {
        Format::OpenMetrics => text,
        Format::Classic => classic::from_open_metrics(&text),
    }
}

#[derive(Debug)]
struct ReportCollector(Report);

impl Collector for ReportCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let Self(report) = self;
        let mut families = Families::new(encoder);
        daemon::encode(&mut families, report)?;
        datapath::encode(&mut families, report)?;
        services::encode(&mut families, &report.services)?;
        services::encode_sources(&mut families, &report.sources)?;
        backends::encode(&mut families, &report.backends)?;
        backends::encode_checks(&mut families, &report.backends)?;
        backends::encode_agents(&mut families, &report.backends)?;
        backends::encode_watch(&mut families, &report.backends)?;
        checker::encode(&mut families, &report.checker)?;
        events::encode(&mut families, &report.events)?;
        events::encode_hooks(&mut families, &report.hooks)
    }
}

fn number(is_so: bool) -> u64 {
    u64::from(is_so)
}

#[cfg(test)]
pub(super) mod tests;
