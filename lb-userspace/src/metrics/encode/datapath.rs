//! Metrics of the programs and tables in the kernel.

use std::fmt;

use super::number;
use crate::metrics::{FlowCacheReport, Report, families::Families};

pub(super) fn encode(to: &mut Families, report: &Report) -> fmt::Result {
    let verdicts = report.verdicts.iter().map(|(verdict, count)| {
        ([("action", verdict.action().name()), ("reason", verdict.reason())], *count)
    });
    to.counters("lb_xdp_packets", "Packets by what the program did with them, and why.", verdicts)?;
    let attached = report.interfaces.iter().map(|interface| {
        let labels = [("iface", interface.name.as_str()), ("mode", interface.mode)];
        (labels, number(interface.attached))
    });
    to.gauges("lb_xdp_attached", "Whether the program is attached to the interface.", attached)?;
    tables(to, report)
}

fn tables(to: &mut Families, report: &Report) -> fmt::Result {
    let tables = &report.tables;
    let slots = [("used", tables.slots_used), ("capacity", tables.slots_capacity)]
        .map(|(stat, count)| ([("stat", stat)], count));
    to.gauges("lb_slots", "Slots of all tables: in use, and all that there are.", slots)?;
    to.counter("lb_table_rebuilds", "Tables of slots that were computed anew.", tables.rebuilds)?;
    to.counter(
        "lb_table_disrupted_slots",
        "Slots that went from one backend to another.",
        tables.disrupted_slots,
    )?;
    to.gauge("lb_map_bytes", "Memory of all BPF maps.", tables.map_bytes)?;
    let nat = &tables.nat_flows;
    to.gauge("lb_nat_flows", "Translated flows, as last counted.", nat.flows)?;
    to.gauge("lb_nat_capacity", "Translated flows that fit.", nat.capacity)?;
    to.counter(
        "lb_nat_expired",
        "Translated flows that were removed since they had been silent for too long.",
        nat.expired,
    )?;
    flow_cache(to, &tables.flow_cache)
}

fn flow_cache(to: &mut Families, cache: &FlowCacheReport) -> fmt::Result {
    let FlowCacheReport { entries, capacity, counts } = cache;
    to.gauge("lb_flow_cache_entries", "Remembered flows, as last counted.", *entries)?;
    to.gauge("lb_flow_cache_capacity", "Remembered flows that fit.", *capacity)?;
    to.counter("lb_flow_cache_hits", "Packets whose flow was remembered.", counts.hits)?;
    to.counter("lb_flow_cache_inserts", "Flows that were remembered anew.", counts.inserts)?;
    to.counter(
        "lb_flow_cache_evictions",
        "Flows that were remembered in the place of one that had been silent for too long.",
        counts.evictions,
    )?;
    to.counter(
        "lb_flow_cache_refusals",
        "Flows that were to be remembered, and for which there was no budget or no room.",
        counts.refusals,
    )
}
