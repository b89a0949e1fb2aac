//! One balancer: its lbd, and what is done to it.

use std::{fs, net::IpAddr, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    address::Family, daemon::Daemon, error::RigError, host::Host, lbctl::Lbctl, program, waiting,
};

const CONFIG: &str = "/run/lb.toml";
/// The pinned attachment of eth0.
const LINK: &str = "/sys/fs/bpf/lb/links/eth0";
const PATIENCE: Duration = Duration::from_secs(20);

/// lbd in a host, which it does not own.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    lbd: Option<Daemon>,
    version: Version,
    /// What earlier ones said: the last words of each.
    log: String,
}

/// Which lbd is started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Version {
    /// The one that is built here.
    #[default]
    This,
    /// One whose maps have another layout.
    Next,
}

impl Balancer {
    /// Whichever starts next is of this version.
    pub(super) const fn install(&mut self, version: Version) {
        self.version = version;
    }

    pub(super) const fn lbd(&self) -> Option<&Daemon> {
        self.lbd.as_ref()
    }

    /// Starts lbd and waits until it serves.
    pub(super) fn start(&mut self, host: &Host) -> Result<(), RigError> {
        let name = match self.version {
            Version::This => "lbd",
            Version::Next => "lbd-next-layout",
        };
        let mut command = host.command(program(name)?);
        command.args(["--config", CONFIG]);
        let lbd = Daemon::start(&format!("{name} of {}", host.name()), command)?;
        let lbctl = Lbctl::new(host)?;
        lbd.until("lbd to serve", PATIENCE, || {
            let status = lbctl.command(&["status"]).output().map_err(|error| error.to_string())?;
            // 1 is degraded: a backend may be down.
            let serves = matches!(status.status.code(), Some(0 | 1));
            serves.then_some(()).ok_or_else(|| format!("{status:?}"))
        })?;
        self.lbd = Some(lbd);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(lbd) = self.lbd.take() {
            lbd.kill();
            self.keep_log(&lbd);
        }
    }

    /// SIGTERM.
    pub(super) fn stop(&mut self) -> Result<(), RigError> {
        if let Some(lbd) = self.lbd.take() {
            lbd.stop(PATIENCE)?;
            self.keep_log(&lbd);
        }
        Ok(())
    }

    /// Writes the configuration, for the next start or reload.
    pub(super) fn write_config(host: &Host, text: &str) -> Result<(), RigError> {
        fs::write(host.path(CONFIG), text).map_err(|source| RigError::Kernel {
            host: host.name().into(),
            action: format!("write {CONFIG}"),
            source,
        })
    }

    /// Has lbd read the configuration, and waits until it has.
    pub(super) fn reload(&self, host: &Host) -> Result<(), RigError> {
        let Some(lbd) = &self.lbd else {
            return Ok(());
        };
        let before = lbd.log().len();
        lbd.signal(Signal::SIGHUP);
        lbd.until("lbd to reload its configuration", PATIENCE, || {
            let log = lbd.log();
            let new = &log[before..];
            let is_done = new.contains("configuration");
            is_done.then_some(()).ok_or_else(|| format!("{}: {new}", host.name()))
        })
    }

    /// Runs lbctl.
    pub(super) fn ask(host: &Host, words: &[&str]) -> Result<String, RigError> {
        Lbctl::new(host)?.run(words)
    }

    /// Waits until all backends are up.
    pub(super) fn wait_until_up(&self, host: &Host) -> Result<(), RigError> {
        let lbctl = Lbctl::new(host)?;
        waiting::until("all backends to be up", PATIENCE, || {
            let rows = lbctl.backends().map_err(|error| error.to_string())?;
            let others: Vec<_> = rows.iter().filter(|row| row.state != "up").collect();
            others.is_empty().then_some(()).ok_or_else(|| format!("{others:?}"))
        })
    }

    /// Detaches the program, as somebody else might, by removing the pin that holds it.
    pub(super) fn detach(host: &Host) -> Result<(), RigError> {
        let result = fs::remove_file(host.path(LINK));
        result.map_err(|source| RigError::Kernel {
            host: host.name().into(),
            action: format!("remove {LINK}"),
            source,
        })
    }

    /// Waits until the attachment is there.
    pub(super) fn wait_until_attached(&self, host: &Host) -> Result<(), RigError> {
        waiting::until("the program to be put back", PATIENCE, || {
            let is_there = host.path(LINK).exists();
            is_there.then_some(()).ok_or_else(|| format!("no {LINK}"))
        })
    }

    /// What all lbds said.
    pub(super) fn log(&self) -> String {
        let now = self.lbd.as_ref().map(Daemon::log).unwrap_or_default();
        format!("{}{now}", self.log)
    }

    fn keep_log(&mut self, lbd: &Daemon) {
        let log = lbd.log();
        let lines: Vec<_> = log.lines().collect();
        self.log = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        self.log.push('\n');
    }
}

const LOG_LINES: usize = 100;

/// The router's bridge port of a balancer, and the balancer's address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) port: &'static str,
    pub(super) address: fn(Family) -> IpAddr,
}
