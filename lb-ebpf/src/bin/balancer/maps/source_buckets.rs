use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::bucket::SourceBuckets;

/// How many flows single sources may begin now, a set of sources a value.
#[btf_map]
pub(crate) static SOURCE_BUCKETS: Array<SourceBuckets, 1, { super::MMAPABLE }> = Array::new();
