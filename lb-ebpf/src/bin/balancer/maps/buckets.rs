use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::bucket::Bucket;

/// How many flows may begin now, by policy.
#[btf_map]
pub(crate) static BUCKETS: Array<Bucket, 1, { super::MMAPABLE }> = Array::new();
