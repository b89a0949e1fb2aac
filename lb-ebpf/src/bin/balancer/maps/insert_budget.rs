use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::flow::InsertBudget;

/// What this CPU may still insert into the flow cache: one value.
#[btf_map]
pub(crate) static INSERT_BUDGET: PerCpuArray<InsertBudget, 1> = PerCpuArray::new();
