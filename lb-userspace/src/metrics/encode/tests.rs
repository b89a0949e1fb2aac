use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use lb_common::{Counters, Verdict};

use super::*;
use crate::{
    datapath::counters::FlowCacheCounts,
    event::EventKind,
    health::{CheckFailure, CheckerCounts},
    hooks::{HookCounts, Outcome},
    metrics::{
        AgentCounts, AttemptCounts, BackendReport, CheckMetrics, ConfigReport, FlowCacheReport,
        InterfaceReport, NatFlowReport, Process, ScalingReport, ServiceReport, SourceReport,
        TableReport, WatchReport,
    },
};

/// A small report in which every family has a sample.
pub(in crate::metrics) fn report() -> Report {
    let counters = |packets| Counters { packets, bytes: packets * 100, new_flows: packets / 10 };
    let mut checks = CheckMetrics::default();
    checks.record(&Ok(Duration::from_micros(1500)));
    checks.record(&Ok(Duration::from_millis(250)));
    checks.record(&Err(CheckFailure::ConnectRefused));
    let mut hook = HookCounts::new("restart");
    hook.limited = 4;
    hook.record(&Outcome::Done, Duration::from_millis(125));
    hook.record(&Outcome::Timeout, Duration::from_secs(10));
    Report {
        version: "0.1.0",
        process: Process {
            start_time: 1_795_000_000.25,
            cpu_seconds: 1.5,
            resident_bytes: 12_345_344,
            open_descriptors: 17,
        },
        services: vec![ServiceReport {
            name: "web".to_owned(),
            protocol: "tcp",
            family: "ipv4",
            counters: counters(1000),
            backends: 2,
            up: true,
            quorum: true,
            panic: false,
            backup_active: false,
            scaling: Some(ScalingReport {
                demand: 2,
                predicted: 4,
                desired: 3,
                load_ratio: Some(0.75),
            }),
        }],
        backends: vec![
            BackendReport {
                service: "web".to_owned(),
                address: "10.0.1.11".to_owned(),
                state: "up",
                counters: counters(600),
                weight_config: 100,
                weight_effective: 100,
                checks: Some(checks),
                agent: Some(AgentCounts { heard: 41, failed: 1 }),
                watch: Some(WatchReport {
                    suspect: true,
                    ejections: 2,
                    checks: AttemptCounts { attempts: 300, failed: 3 },
                    traffic: AttemptCounts { attempts: 60, failed: 6 },
                }),
                state_changes: 1,
                last_change: Some(1_795_000_001),
            },
            BackendReport {
                service: "web".to_owned(),
                address: "2001:db8::2".to_owned(),
                state: "drain",
                counters: counters(400),
                weight_config: 50,
                weight_effective: 0,
                checks: None,
                agent: None,
                watch: None,
                state_changes: 0,
                last_change: None,
            },
        ],
        verdicts: vec![
            (Verdict::NotService, 5),
            (Verdict::Transmitted, 1000),
            (Verdict::Redirected, 0),
            (Verdict::NoBackend, 3),
        ],
        interfaces: vec![InterfaceReport {
            name: "eth0".to_owned(),
            mode: "native",
            attached: true,
        }],
        sources: vec![SourceReport {
            service: "web".to_owned(),
            up: false,
            age_seconds: 12.5,
            updates_ok: 4,
            updates_failed: 1,
        }],
        uplink_silent: false,
        checker: CheckerCounts { in_flight: 3, not_made: 2, ..CheckerCounts::default() },
        tables: TableReport {
            slots_used: 65_536,
            slots_capacity: 1_048_576,
            rebuilds: 9,
            disrupted_slots: 655,
            map_bytes: 4_194_304,
            nat_flows: NatFlowReport { flows: 12_345, capacity: 262_144, expired: 678 },
            flow_cache: FlowCacheReport {
                entries: 4321,
                capacity: 262_144,
                counts: FlowCacheCounts {
                    hits: 98_765,
                    inserts: 5432,
                    evictions: 111,
                    refusals: 22,
                },
            },
        },
        config: ConfigReport {
            last_reload_success: true,
            last_success: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        },
        events: vec![(EventKind::BackendState, 12), (EventKind::Hook, 2)],
        hooks: vec![hook],
    }
}

#[test]
fn open_metrics_is_as_recorded() {
    let text = encode(report(), Format::OpenMetrics);
    golden("open_metrics.txt", &text, include_str!("open_metrics.txt"));
}

#[test]
fn the_classic_format_is_as_recorded() {
    let text = encode(report(), Format::Classic);
    golden("classic.txt", &text, include_str!("classic.txt"));
}

#[test]
fn nothing_at_all_is_still_well_formed() {
    let empty = Report { services: vec![], backends: vec![], ..report() };
    let text = encode(empty, Format::Classic);
    assert!(text.contains("# TYPE lb_service_packets_total counter\n"));
    assert!(!text.contains("service=\"web\",proto"));
    promtool(&text);
}

#[test]
fn labels_cannot_break_out() {
    let mut report = report();
    report.interfaces[0].name = "a\"} 7\n\\".to_owned();
    let text = encode(report, Format::Classic);
    assert!(text.contains(r#"lb_xdp_attached{iface="a\"} 7\n\\",mode="native"} 1"#), "{text}");
    promtool(&text);
}

#[test]
fn promtool_finds_nothing_to_blame() {
    promtool(&encode(report(), Format::Classic));
}

/// Compares with the recorded text; `LB_BLESS=1` records it anew.
fn golden(name: &str, text: &str, recorded: &str) {
    if std::env::var_os("LB_BLESS").is_some() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/encode/");
        std::fs::write(format!("{directory}{name}"), text).expect("recorded");
        return;
    }
    for (number, (found, expected)) in text.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(found, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(text, recorded, "{name}");
}

/// Has the text checked by Prometheus' own tool, where it is installed.
fn promtool(text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        eprintln!("SKIPPED: promtool is not installed, `cargo xtask setup` would install it");
        return;
    };
    let mut input = promtool.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "promtool says:\n{said}");
}
