//! The figures as a table and as JSON.

use std::io::IsTerminal as _;

use serde::Serialize;

use super::{cases::Case, harness::Measured};

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    driver_ns: f64,
    floor_net_ns: f64,
    pub(super) rows: Vec<Row>,
}

/// The figures of a case, in nanoseconds a packet.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    path: &'static str,
    family: &'static str,
    proto: &'static str,
    kind: &'static str,
    flows: u32,
    net_ns: f64,
    floor_ratio: f64,
    #[serde(skip)]
    driver: f64,
    #[serde(skip)]
    floor_net: f64,
}

impl Row {
    pub(super) fn new(case: Case, measured: Measured) -> Self {
        let (net, floor) = (measured.path - measured.driver, measured.floor - measured.driver);
        Self {
            path: case.path,
            family: case.family.name(),
            proto: case.proto.name(),
            kind: case.kind.name(),
            flows: case.flows,
            net_ns: round(net),
            floor_ratio: round(net / floor),
            driver: measured.driver,
            floor_net: floor,
        }
    }
}

impl Report {
    /// Fills in what is the same for all rows: driver and floor of the IPv4 cases, medians.
    pub(super) fn summarise(&mut self) {
        let median = |field: fn(&Row) -> f64| {
            let mut values: Vec<f64> =
                self.rows.iter().filter(|row| row.family == "ipv4").map(field).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().map_or(0.0, round)
        };
        (self.driver_ns, self.floor_net_ns) =
            (median(|row| row.driver), median(|row| row.floor_net));
    }

    pub(super) fn print(&self) {
        println!(
            "driver {:.1} ns, floor {:.1} ns net of it (IPv4)\n",
            self.driver_ns, self.floor_net_ns
        );
        println!(
            "{:<6}{:<8}{:<7}{:<14}{:>12}{:>10}{:>11}{:>8}",
            "path", "family", "proto", "kind", "flows", "net ns", "floor ns", "ratio"
        );
        for row in &self.rows {
            println!(
                "{:<6}{:<8}{:<7}{:<14}{:>12}{:>10.1}{:>11.1}{:>8.2}",
                row.path,
                row.family,
                row.proto,
                row.kind,
                flows(row.flows),
                row.net_ns,
                row.floor_net,
                row.floor_ratio
            );
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// Says on a terminal what is being measured.
pub(super) fn progress(case: &Case) {
    if std::io::stderr().is_terminal() {
        eprint!(
            "\r\x1b[Kmeasuring {} {} {}, {} flows",
            case.family.name(),
            case.proto.name(),
            case.kind.name(),
            flows(case.flows)
        );
    }
}

fn flows(flows: u32) -> String {
    match flows {
        0x8000_0000.. => "all".to_owned(),
        0x10_0000.. => format!("{} M", flows >> 20),
        0x400.. => format!("{} k", flows >> 10),
        _ => flows.to_string(),
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
