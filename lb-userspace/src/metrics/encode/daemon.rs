//! Metrics of the daemon itself.

use std::{fmt, time::SystemTime};

use super::number;
use crate::metrics::{Report, families::Families};

pub(super) fn encode(to: &mut Families, report: &Report) -> fmt::Result {
    let version = [([("version", report.version)], 1_u64)];
    to.gauges("lb_build_info", "Version of the daemon, always 1.", version)?;
    let process = &report.process;
    to.gauge(
        "process_start_time_seconds",
        "When the daemon started, since 1970.",
        process.start_time,
    )?;
    to.counter(
        "process_cpu_seconds",
        "Processor time of the daemon, user and kernel.",
        process.cpu_seconds,
    )?;
    to.gauge(
        "process_resident_memory_bytes",
        "Memory of the daemon that is in RAM.",
        process.resident_bytes,
    )?;
    to.gauge("process_open_fds", "Open file descriptors.", process.open_descriptors)?;
    to.gauge(
        "lb_uplink_silent",
        "Whether nobody answers this machine, so that failures are taken for its own.",
        number(report.uplink_silent),
    )?;
    to.gauge(
        "lb_config_last_reload_success",
        "Whether the last attempt to load the configuration succeeded.",
        number(report.config.last_reload_success),
    )?;
    let last_success = report.config.last_success.duration_since(SystemTime::UNIX_EPOCH);
    to.gauge(
        "lb_config_last_reload_success_timestamp_seconds",
        "When the configuration was last loaded with success, since 1970.",
        last_success.unwrap_or_default().as_secs_f64(),
    )
}
