//! Frames through the XDP programs, in the kernel and on the host.
//!
//! The packet core is one source for two worlds. A [`Balancer`] or [`Decap`] holds both: the BPF
//! program, run by `BPF_PROG_TEST_RUN`, and the same functions compiled for the host. Tests give
//! both the same frame over the same tables and compare answer, verdict and every byte, with each
//! other or with what [`Shape`] and [`Tunnel`] say, which know nothing of the packet core.

mod arrays;
mod balancer;
mod beside;
mod decap;
mod hop;
mod outcome;
mod program;
mod shape;
mod tunnel;

pub mod corpus;
pub mod failure;
pub mod fixture;
pub mod pcap;
pub mod properties;
pub mod random;

pub use balancer::{Balancer, LIMITS};
pub use decap::{Decap, GUE_PORT, Prefix};
pub use hop::hopped;
pub use outcome::{Outcome, Pair, Verdicts, XdpAction, hex};
pub use program::{INGRESS, LONGEST_FRAME, SHORTEST_FRAME};
pub use shape::{
    BALANCER_LINK, CLIENT_LINK, ETHERNET, Extension, Segment, Shape, Tag, Transport, extended,
    fragments, icmp, ip_offset, is_fragment, quic, tagged,
};
pub use tunnel::{Carrier, Gue, Tunnel, Variant, relinked};
