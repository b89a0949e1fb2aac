use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::flow::InsertBudget;

/// How many answers of its own this CPU may still give: one value.
#[btf_map]
pub(crate) static REPLY_BUDGET: PerCpuArray<InsertBudget, 1> = PerCpuArray::new();
