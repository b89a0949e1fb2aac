//! Keeping the table of translated flows free of those that are over.

use lb_common::settings::feature;
use tokio::sync::mpsc;

use super::Daemon;
use crate::{datapath::nat_sweep::NatSweep, metrics::NatFlowReport};

/// The walk over all flows, which is either here or on its way in another thread.
pub(super) struct NatFlows {
    sweep: Option<NatSweep>,
    report: NatFlowReport,
    /// Where the thread hands it back.
    back: mpsc::Sender<NatSweep>,
}

impl NatFlows {
    pub(super) fn new(sweep: NatSweep, back: mpsc::Sender<NatSweep>) -> Self {
        let capacity = u64::from(sweep.capacity());
        let report = NatFlowReport { capacity, ..NatFlowReport::default() };
        Self { sweep: Some(sweep), report, back }
    }

    pub(super) fn take_back(&mut self, sweep: NatSweep) {
        (self.report.flows, self.report.expired) = (sweep.flows(), sweep.expired());
        self.sweep = Some(sweep);
    }

    pub(super) const fn report(&self) -> NatFlowReport {
        self.report
    }
}

impl Daemon {
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
            if let Err(error) = sweep.pass(ticks) {
                tracing::warn!(%error, "translated flows could not be looked at");
            }
            // The daemon may be gone.
            let _ = back.blocking_send(sweep);
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
