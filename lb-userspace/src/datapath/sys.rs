//! System calls that no library offers: two of `bpf(2)`, the question for an MTU, and the filters of
//! raw sockets.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Commands of `enum bpf_cmd` in the kernel's `include/uapi/linux/bpf.h`.
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_DETACH: libc::c_int = 34;

/// The largest packet that an interface takes, in bytes.
pub(super) fn mtu(interface: &str) -> io::Result<u32> {
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    name.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from.cast_signed());
    let mut request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_mtu: 0 } };
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the request is a whole `struct ifreq`, which the kernel reads and writes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has answered with the MTU.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
}

/// Has a raw socket of ICMP get messages of these types, below 32, alone.
pub(super) fn take_icmp(socket: &OwnedFd, kinds: &[u8]) -> io::Result<()> {
    /// `SOL_RAW` and `ICMP_FILTER` of the kernel's `include/uapi/linux/icmp.h`.
    const FILTER: (libc::c_int, libc::c_int) = (255, 1);

    // Bits that are set are types that are dropped.
    let dropped = kinds.iter().fold(u32::MAX, |all, kind| all & !(1 << (kind & 31)));
    set_option(socket, FILTER, &dropped)
}

/// The same of ICMPv6, and of types of any number.
pub(super) fn take_icmpv6(socket: &OwnedFd, kinds: &[u8]) -> io::Result<()> {
    /// `ICMPV6_FILTER` of the kernel's `include/uapi/linux/icmpv6.h`.
    const FILTER: (libc::c_int, libc::c_int) = (libc::IPPROTO_ICMPV6, 1);

    let mut dropped = [u32::MAX; 8];
    for kind in kinds {
        dropped[usize::from(kind >> 5)] &= !(1 << (kind & 31));
    }
    set_option(socket, FILTER, &dropped)
}

/// Sets an option by its level and number. The value's type is the option's.
fn set_option<T>(
    socket: &OwnedFd,
    (level, number): (libc::c_int, libc::c_int),
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes of the value as it has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            number,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens what is pinned at a path.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    /// The part of `union bpf_attr` for this command.
    #[repr(C)]
    struct Attributes {
        pathname: u64,
        descriptor: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Attributes { pathname: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    let descriptor = bpf(BPF_OBJ_GET, &attributes)?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The interface that a link of XDP leads to; an error if there is none any more.
pub(super) fn interface_of(link: BorrowedFd<'_>) -> io::Result<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let index = text.lines().find_map(|line| line.strip_prefix("ifindex:")?.trim().parse().ok());
    index.filter(|index| *index != 0).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Detaches a link at once (kernel 5.9). One whose interface is gone is detached already.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &(link.as_raw_fd() as u32)).map(drop)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads as many bytes as it is told that there are, and what they point to,
    // a path, is alive. Neither command writes to them.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
