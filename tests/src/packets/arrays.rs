//! The balancer's arrays in our memory, in a known state.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};
use aya::{Ebpf, maps::Map};
use lb_common::{Backend, FlowSet, Service, Settings, SlotLine};
use lb_userspace::datapath::{
    Mapped, Value,
    arrays::{Arrays, Lengths},
};

use super::balancer::LIMITS;

/// The arrays, all of them zeroed.
pub(super) fn emptied(ebpf: &Ebpf) -> anyhow::Result<Arrays> {
    let Lengths { services, slots, backends, flows } = Lengths::from(&LIMITS);
    let mut arrays = Arrays {
        settings: mapped(ebpf, "SETTINGS", 1)?,
        services: mapped(ebpf, "SERVICES", services)?,
        slots: mapped(ebpf, "SLOTS", slots)?,
        backends: mapped(ebpf, "BACKENDS", backends)?,
        flows: mapped(ebpf, "FLOWS", flows)?,
    };
    arrays.settings.replace(0, Settings::default());
    (0..arrays.services.len()).for_each(|i| arrays.services.replace(i, Service::default()));
    (0..arrays.slots.len()).for_each(|i| arrays.slots.replace(i, SlotLine::default()));
    (0..arrays.backends.len()).for_each(|i| arrays.backends.replace(i, Backend::default()));
    (0..arrays.flows.len()).for_each(|i| arrays.flows.replace(i, FlowSet::default()));
    Ok(arrays)
}

/// The values of one array.
pub(super) fn mapped<T: Value>(ebpf: &Ebpf, name: &str, len: u32) -> anyhow::Result<Mapped<T>> {
    let Some(Map::Array(map)) = ebpf.map(name) else { bail!("no map {name}") };
    Mapped::of_map(map.fd().as_fd(), len as usize).with_context(|| format!("mapping {name}"))
}
