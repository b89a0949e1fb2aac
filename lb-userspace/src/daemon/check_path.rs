//! The tunnels that checks take, as long as any does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Daemon;
use crate::health::{Target, TunnelPath, Tunnels};

/// The tunnels that checks take.
#[derive(Default)]
pub(super) struct CheckPath {
    /// Whether any check takes them.
    is_needed: bool,
    path: Option<TunnelPath>,
    /// The way into them since they opened at last. It outlives them, and then checks are not made:
    /// what goes straight to a backend says nothing of whether that unpacks what clients send.
    handle: Option<Arc<dyn Tunnels>>,
    /// Why there are none, though they are needed.
    problem: Option<String>,
    /// When it is tried again.
    again_at: Option<Instant>,
}

/// Time until what never opened is tried again: something is missing on this machine.
const AGAIN: Duration = Duration::from_secs(30);

impl CheckPath {
    /// Takes in that they did not open. Returns whether that is news.
    fn refuse(&mut self, problem: String, now: Instant) -> bool {
        self.path = None;
        // What has worked may work again: each second, when it is looked at.
        self.again_at = self.handle.is_none().then(|| now + AGAIN);
        self.problem.replace(problem.clone()) != Some(problem)
    }

    /// Takes in that nobody needs them any more.
    fn rest(&mut self) {
        *self = Self { handle: self.handle.take(), ..Self::default() };
    }

    /// What is wrong with them.
    fn problem(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        Some(match self.handle {
            Some(_) => format!(
                "checks through tunnels are not made, and states stay as they are: {problem}"
            ),
            None => format!("checks do not take the tunnel but go straight to backends: {problem}"),
        })
    }
}

impl Daemon {
    /// Opens the tunnels when the first check takes one, and closes them after the last one.
    pub(super) fn tend_check_path(&mut self, targets: &[Target]) {
        if targets.iter().any(|target| target.tunnel.is_some()) {
            self.check_path.is_needed = true;
            self.look_at_check_path();
        } else if self.check_path.is_needed {
            self.checker.set_tunnels(None);
            self.check_path.rest();
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
        self.check_path.problem()
    }

    fn open_check_path(&mut self) {
        let daemon = &self.control.config().daemon;
        match TunnelPath::open(daemon.gue_port, &daemon.tunnel_sources) {
            Ok(path) => {
                tracing::info!(device = path.device(), "checks take the tunnels");
                let handle = Some(path.tunnels());
                let (is_needed, path) = (true, Some(path));
                self.check_path = CheckPath { is_needed, path, handle, ..CheckPath::default() };
            }
            Err(error) => {
                let is_news = self.check_path.refuse(error.to_string(), Instant::now());
                if let (true, Some(problem)) = (is_news, self.check_path.problem()) {
                    tracing::warn!("{problem}");
                }
            }
        }
        self.checker.set_tunnels(self.check_path.handle.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::{io, net::IpAddr};

    use lb_common::Forward;

    use super::*;
    use crate::health::Steer;

    #[derive(Debug)]
    struct Closed;

    impl Tunnels for Closed {
        fn to(&self, _: IpAddr, _: Forward, _: IpAddr) -> io::Result<(IpAddr, Arc<dyn Steer>)> {
            Err(io::Error::other("closed"))
        }
    }

    #[test]
    fn checks_go_straight_only_where_tunnels_never_opened() {
        let mut never = CheckPath { is_needed: true, ..CheckPath::default() };
        let now = Instant::now();
        assert!(never.refuse("no TUN".to_owned(), now));
        assert!(never.handle.is_none());
        assert!(never.problem().expect("there is one").contains("straight"));
        assert_eq!(never.again_at, Some(now + AGAIN));
        assert!(!never.refuse("no TUN".to_owned(), now), "it was told");

        let handle: Option<Arc<dyn Tunnels>> = Some(Arc::new(Closed));
        let mut once = CheckPath { is_needed: true, handle, ..CheckPath::default() };
        assert!(once.refuse("no TUN".to_owned(), now));
        assert!(once.handle.is_some(), "what it leads to is closed, so checks are not made");
        assert!(once.problem().expect("there is one").contains("not made"));
        assert_eq!(once.again_at, None, "at once");
        once.rest();
        assert!(once.problem().is_none() && !once.is_needed);
        assert!(once.handle.is_some(), "not even when the next check needs them");
    }
}
