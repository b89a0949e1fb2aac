//! Asks backends: one file a kind of check.

pub(super) mod agent;
mod budget;
mod dial;
mod dns;
mod exec;
#[cfg(test)]
mod fixture;
mod grpc;
mod host;
mod http;
mod http1;
mod http2;
mod icmp;
mod tcp;
mod tls;
mod tls_config;
mod tls_roots;
mod tls_verifier;
mod udp;

use std::time::Duration;

use budget::Budget;

pub(super) use icmp::Pinger;
pub(crate) use {host::bare_host, tls::Stream, tls_config::trusting_this_machine};

use super::{CheckFailure, Endpoint, WeightAdvice};
use crate::model::{BackendName, HealthCheck, Probe};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How long the answer took, or why the check did not pass.
    pub outcome: Result<Duration, CheckFailure>,
    /// The weight that a check that passed asks for.
    pub weight: Option<WeightAdvice>,
}

impl From<Result<Duration, CheckFailure>> for Found {
    fn from(outcome: Result<Duration, CheckFailure>) -> Self {
        Self { outcome, weight: None }
    }
}

/// Checks once, within the check's time-out from beginning to end.
pub(super) async fn run(
    endpoint: &Endpoint,
    check: &HealthCheck,
    backend: &BackendName,
    pinger: &Pinger,
) -> Found {
    let budget = Budget::new(check.timeout);
    match &check.probe {
        Probe::Tcp => tcp::connects(endpoint, &budget).await.into(),
        Probe::TcpExchange(exchange) => tcp::answers(endpoint, exchange, &budget).await.into(),
        Probe::Http(probe) => http::check(endpoint, probe, &budget).await.into(),
        Probe::Tls(options) => tls::check(endpoint, options, &budget).await.into(),
        Probe::Grpc(probe) => grpc::check(endpoint, probe, &budget).await.into(),
        Probe::Udp(probe) => udp::check(endpoint, probe, &budget).await.into(),
        Probe::Dns(probe) => dns::check(endpoint, probe, &budget).await.into(),
        Probe::Icmp => icmp::check(endpoint, pinger, &budget).await.into(),
        Probe::Exec(probe) => match exec::check(endpoint, probe, &budget, backend).await {
            Ok((latency, weight)) => Found { outcome: Ok(latency), weight },
            Err(failure) => Err(failure).into(),
        },
    }
}
