//! Turning off what an interface does for the kernel behind our back.

use std::io;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd as _;

/// Makes the interface send frames as they are on the wire: checksums written, one packet each.
///
/// Veth passes frames between namespaces as the stack left them. With offloads on these have no
/// checksum yet and may hold many packets, which the stack at the other end accepts. An XDP
/// program in between sees, and sends on, what no network would carry: UDP arrives with wrong
/// checksums, bulk TCP not at all.
///
/// This is what `ethtool -K X tx off tso off gso off gro off` does, without needing that program.
/// The calling thread has to be in the interface's network namespace.
pub(crate) fn turn_off(interface: &str) -> io::Result<()> {
    for feature in [SET_TX_CHECKSUM, SET_TSO, SET_GSO, SET_GRO] {
        set(interface, Value { feature, value: 0 })?;
    }
    Ok(())
}

// From linux/ethtool.h.
const SET_TX_CHECKSUM: u32 = 0x17;
const SET_TSO: u32 = 0x1f;
const SET_GSO: u32 = 0x24;
const SET_GRO: u32 = 0x2c;
/// From linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    feature: u32,
    value: u32,
}

fn set(interface: &str, mut value: Value) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    let room = &mut name[..libc::IFNAMSIZ - 1];
    if interface.len() > room.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in room.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the request names an interface and points to the value of this command; both live
    // until the call returns.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
