//! The tunnels that checks take, as long as any does.

use std::time::{Duration, Instant};

use super::Daemon;
use crate::health::{Target, TunnelError, TunnelPath};

/// The tunnels that checks take.
#[derive(Default)]
pub(super) struct CheckPath {
    /// Whether any check takes them.
    is_needed: bool,
    path: Option<TunnelPath>,
    /// Why there is none, though it is needed.
    problem: Option<String>,
    /// When it is tried again.
    again_at: Option<Instant>,
}

/// Time until what did not open is tried again.
const AGAIN: Duration = Duration::from_secs(30);

impl Daemon {
    /// Opens the tunnels when the first check takes one, and closes them after the last one.
    pub(super) fn tend_check_path(&mut self, targets: &[Target]) {
        if targets.iter().any(|target| target.tunnel.is_some()) {
            self.check_path.is_needed = true;
            self.look_at_check_path();
        } else if self.check_path.is_needed {
            self.checker.set_tunnels(None);
            self.check_path = CheckPath::default();
        }
    }

    /// Opens the tunnels if they are needed and not there; also if somebody has taken their device
    /// away.
    pub(super) fn look_at_check_path(&mut self) {
        if let Some(fault) = self.check_path.path.as_ref().and_then(TunnelPath::fault) {
            tracing::warn!(fault, "the tunnels of checks are opened anew");
            self.check_path.path = None;
        }
        let CheckPath { is_needed, path, again_at, .. } = &self.check_path;
        let is_due = again_at.is_none_or(|at| Instant::now() >= at);
        if *is_needed && path.is_none() && is_due {
            self.open_check_path();
        }
    }

    /// What is wrong with them.
    pub(super) fn check_path_problem(&self) -> Option<String> {
        let problem = self.check_path.problem.as_ref()?;
        Some(format!("checks do not take the tunnel but go straight to backends: {problem}"))
    }

    fn open_check_path(&mut self) {
        let daemon = &self.control.config().daemon;
        match TunnelPath::open(daemon.gue_port, &daemon.tunnel_sources) {
            Ok(path) => {
                tracing::info!(device = path.device(), "checks take the tunnels");
                self.checker.set_tunnels(Some(path.tunnels()));
                self.check_path =
                    CheckPath { is_needed: true, path: Some(path), ..CheckPath::default() };
            }
            Err(error) => self.go_straight(&error),
        }
    }

    fn go_straight(&mut self, error: &TunnelError) {
        let problem = Some(error.to_string());
        if self.check_path.problem != problem {
            tracing::warn!(%error, "checks do not take the tunnel but go straight to backends");
        }
        self.checker.set_tunnels(None);
        let again_at = Some(Instant::now() + AGAIN);
        self.check_path = CheckPath { is_needed: true, path: None, problem, again_at };
    }
}
