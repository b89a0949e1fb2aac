//! Keeping the table of translated flows free of those that are over.

use lb_common::settings::feature;
use tokio::sync::mpsc;

use super::Daemon;
use crate::{datapath::nat_sweep::NatSweep, metrics::NatFlowReport};

/// Passes that hold a walk over all flows from its beginning to its end, wherever they begin: a walk
/// takes some ten.
const IDLE_PASSES: u8 = 30;

/// A pass that has ended.
pub(super) struct Pass {
    sweep: NatSweep,
    is_ok: bool,
}

/// The walk over all flows, which is either here or on its way in another thread.
pub(super) struct NatFlows {
    sweep: Option<NatSweep>,
    report: NatFlowReport,
    /// Passes in a row that ended without a flow, while no service translated.
    idle_passes: u8,
    /// Where the thread hands it back.
    back: mpsc::Sender<Pass>,
}

impl NatFlows {
    pub(super) fn new(sweep: NatSweep, back: mpsc::Sender<Pass>) -> Self {
        let capacity = u64::from(sweep.capacity());
        let report = NatFlowReport { capacity, ..NatFlowReport::default() };
        Self { sweep: Some(sweep), report, idle_passes: 0, back }
    }

    /// Takes the walk back. True if there is no flow any more and none can begin: all were looked
    /// at since the last service that `translates` has gone.
    fn take_back(&mut self, Pass { sweep, is_ok }: Pass, translates: bool) -> bool {
        (self.report.flows, self.report.expired) = (sweep.flows(), sweep.expired());
        self.sweep = Some(sweep);
        let is_idle = is_ok && !translates && self.report.flows == 0;
        self.idle_passes = if is_idle { self.idle_passes + 1 } else { 0 };
        self.idle_passes >= IDLE_PASSES
    }

    pub(super) const fn report(&self) -> NatFlowReport {
        self.report
    }
}

impl Daemon {
    /// Takes in a pass that has ended. Packets stop looking for translated flows once there are none
    /// and none can begin.
    pub(super) fn take_pass(&mut self, pass: Pass) {
        if self.nat_flows.take_back(pass, self.datapath.tables.translates()) {
            self.nat_flows.idle_passes = 0;
            self.datapath.tables.end_translation();
            tracing::debug!("no flow is translated any more");
        }
    }

    /// Begins the next pass, unless one is still on its way or nothing was ever translated.
    pub(super) fn sweep_nat_flows(&mut self) {
        if self.datapath.tables.arrays().settings[0].features & feature::NAT == 0 {
            return;
        }
        let Some(mut sweep) = self.nat_flows.sweep.take() else { return };
        let ticks = match self.datapath.ticks() {
            Ok(ticks) => ticks,
            Err(error) => {
                tracing::warn!(%error, "the kernel's clock cannot be read; old flows stay");
                self.nat_flows.sweep = Some(sweep);
                return;
            }
        };
        let back = self.nat_flows.back.clone();
        tokio::task::spawn_blocking(move || {
            let passed = sweep.pass(ticks);
            let is_ok = passed.is_ok();
            if let Err(error) = passed {
                tracing::error!(%error, "translated flows could not be looked at; next try follows");
            }
            // The daemon may be gone.
            let _ = back.blocking_send(Pass { sweep, is_ok });
        });
    }
}

/// Says so if flows may get ports that the machine uses for connections of its own: a health check
/// and a flow with the same ports would be taken for one.
pub(super) fn warn_of_shared_ports((first, last): (u16, u16)) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let own = text.ok().and_then(|text| {
        let mut numbers = text.split_whitespace().map(str::parse::<u16>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    let Some((from, to)) = own else { return };
    if first <= to && from <= last {
        tracing::warn!(
            "daemon.nat_ports {first}-{last} overlaps net.ipv4.ip_local_port_range {from}-{to}: \
             choose ports that the machine does not use itself"
        );
    }
}
