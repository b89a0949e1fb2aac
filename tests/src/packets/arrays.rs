//! The balancer's arrays in our memory, in a known state.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};
use aya::{Ebpf, maps::Map};
use lb_userspace::datapath::{
    Mapped, Value,
    arrays::{Arrays, Lengths},
    program,
    translations::Translations,
};

use super::balancer::LIMITS;

/// The arrays, all of them zeroed.
pub(super) fn emptied(ebpf: &Ebpf) -> anyhow::Result<Arrays> {
    let lengths = Lengths::from(&LIMITS);
    let mut arrays = program::arrays(ebpf, &lengths)?;
    empty(&mut arrays.settings);
    empty(&mut arrays.services);
    empty(&mut arrays.slots);
    empty(&mut arrays.backends);
    empty(&mut arrays.flows);
    empty(&mut arrays.loads);
    empty(&mut arrays.rotations);
    empty(&mut arrays.policies);
    empty(&mut arrays.ranges);
    empty(&mut arrays.fragments);
    empty(&mut arrays.buckets);
    empty(&mut arrays.source_buckets);
    arrays.source_rules.retain(|_| false);
    arrays.prefixes.retain(|_| false);
    arrays.servers.retain(|_| false);
    let translations = Translations::of(ebpf)?;
    for (tuple, _) in translations.all()? {
        translations.remove(&tuple)?;
    }
    Ok(arrays)
}

fn empty<T: Value + Default>(array: &mut Mapped<T>) {
    (0..array.len()).for_each(|index| array.replace(index, T::default()));
}

/// The values of one array.
pub(super) fn mapped<T: Value>(ebpf: &Ebpf, name: &str, len: u32) -> anyhow::Result<Mapped<T>> {
    let Some(Map::Array(map)) = ebpf.map(name) else { bail!("no map {name}") };
    Mapped::of_map(map.fd().as_fd(), len as usize).with_context(|| format!("mapping {name}"))
}
