//! The TCP sockets of this machine.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock, bpf_sock_tuple, tcphdr},
    helpers::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie},
    programs::XdpContext,
};
use lb_common::{
    Frame,
    address::join,
    decap::{Connection, Segment},
};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

/// A connection as `bpf_skc_lookup_tcp` wants it: `struct bpf_sock_tuple`, in words of 64 bits, in
/// which the compiler stores them on the stack; the verifier wants these aligned.
#[repr(C)]
struct Ipv4Tuple {
    addresses: u64,
    ports: u64,
}

/// The same of IPv6.
#[repr(C)]
struct Ipv6Tuple {
    client: [u64; 2],
    server: [u64; 2],
    ports: u64,
}

/// Bytes of the tuples that the kernel reads: it knows the family by them.
const IPV4_TUPLE: u32 = 12;
const IPV6_TUPLE: u32 = 36;

/// The network namespace of the interface (`BPF_F_CURRENT_NETNS`).
const THIS_NETNS: u64 = -1_i64 as u64;

/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const LISTENING: u32 = 10;

const TCP_LEN: u32 = 20;

/// Whether a socket has the segment's connection, or a listening one takes the SYN cookie that the
/// segment brings back.
#[inline(always)]
pub(crate) fn know<F: Frame>(context: &XdpContext, frame: &F, segment: &Segment) -> bool {
    let Some(tcp) = frame.header::<[u8; TCP_LEN as usize]>(segment.transport) else { return false };
    let tcp = ptr::from_ref(tcp).cast_mut().cast();
    let Connection { client, server, ports } = segment.connection;
    let ([a, b, c, d], [e, f, g, h]) = (client.words(), server.words());
    let ports = join(ports, 0);
    if client.is_ipv6() {
        let Some(ip) = frame.header::<Ipv6Hdr>(segment.network) else { return false };
        let tuple =
            Ipv6Tuple { client: [join(a, b), join(c, d)], server: [join(e, f), join(g, h)], ports };
        let socket = find(context, (&raw const tuple).cast(), IPV6_TUPLE);
        return is_known(socket, (ptr::from_ref(ip).cast(), Ipv6Hdr::LEN as u32), tcp);
    }
    let Some(ip) = frame.header::<Ipv4Hdr>(segment.network) else { return false };
    let tuple = Ipv4Tuple { addresses: join(a, e), ports };
    let socket = find(context, (&raw const tuple).cast(), IPV4_TUPLE);
    is_known(socket, (ptr::from_ref(ip).cast(), Ipv4Hdr::LEN as u32), tcp)
}

/// The socket with a reference to it, or null.
#[inline(always)]
fn find(context: &XdpContext, tuple: *const bpf_sock_tuple, length: u32) -> *mut bpf_sock {
    // SAFETY: the context is the program's own, and the tuple has so many bytes.
    unsafe { bpf_skc_lookup_tcp(context.as_ptr(), tuple.cast_mut(), length, THIS_NETNS, 0) }
}

/// Gives the reference back.
#[inline(always)]
fn is_known(socket: *mut bpf_sock, (ip, length): (*const c_void, u32), tcp: *mut tcphdr) -> bool {
    if socket.is_null() {
        return false;
    }
    // SAFETY: the kernel handed the socket out with a reference, which is given back last; the
    // headers are checked ones of the frame, and so long.
    unsafe {
        let is_known = (*socket).state != LISTENING
            || bpf_tcp_check_syncookie(socket.cast(), ip.cast_mut().cast(), length, tcp, TCP_LEN)
                == 0;
        bpf_sk_release(socket.cast());
        is_known
    }
}
