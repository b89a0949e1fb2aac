//! What Prometheus reads: a report of the daemon's state, as text over HTTP.

mod check_metrics;
mod classic;
mod encode;
mod families;
mod format;
mod process;
mod report;
mod server;

pub use check_metrics::CheckMetrics;
pub use encode::encode;
pub use format::Format;
pub use process::Process;
pub use report::{
    AgentCounts, AttemptCounts, BACKEND_STATES, BackendReport, ConfigReport, FlowCacheReport,
    InterfaceReport, NatFlowReport, Report, ScalingReport, ServiceReport, SourceReport,
    TableReport, WatchReport,
};
pub use server::{Observer, ReportFuture, serve};
