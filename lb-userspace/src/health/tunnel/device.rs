//! The TUN device that marked packets come out of.

use std::{
    ffi::c_short,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use nix::{errno::Errno, net::if_::if_nametoindex, unistd::read};
use tokio::io::unix::AsyncFd;

use super::{error::TunnelError, identity::Identity};

/// Longest packet. Checks are short; with the longest headers, GUE over IPv6, it fits links of 1,332
/// bytes, and IPv6 wants no less.
pub(super) const MTU: u32 = 1280;

/// A TUN device. It is gone, and routes to it with it, when this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Device {
    file: AsyncFd<OwnedFd>,
    /// Its index in this network namespace.
    pub(super) index: u32,
}

impl Device {
    /// Makes the first device that nobody else has. Must be called in a runtime.
    pub(super) fn open() -> Result<(Identity, Self), TunnelError> {
        for identity in Identity::all() {
            let device = identity.device();
            let failed = |source| TunnelError::Device { device: device.clone(), source };
            let file = driver().map_err(TunnelError::NoDriver)?;
            match name(&file, &device) {
                Ok(()) => {
                    let index =
                        if_nametoindex(device.as_str()).map_err(|errno| failed(errno.into()))?;
                    // SAFETY: nothing but the `AsyncFd` has the file, whose descriptor therefore
                    // stays open, and the same, for as long as it is registered.
                    let file = unsafe { AsyncFd::register(file.into()) }
                        .map_err(|error| failed(error.into()))?;
                    return Ok((identity, Self { file, index }));
                }
                // Another process has it; or it is of another kind.
                Err(Errno::EBUSY | Errno::EINVAL | Errno::EEXIST) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Err(TunnelError::AllTaken)
    }

    /// Whether the device of this name takes IPv6 packets. Where IPv6 is switched off for new devices,
    /// as in many containers, it does not, though others may.
    pub(super) fn takes_ipv6(device: &str) -> bool {
        let switch = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
        fs::read_to_string(switch).is_ok_and(|is_off| is_off.trim() == "0")
    }

    /// Hands packets to `take`, `most` at the most, each with room before it that it may write to:
    /// `buffer` up to `offset`. Waits for the first. Cancel safe.
    pub(super) async fn read(
        &self,
        buffer: &mut [u8],
        offset: usize,
        most: usize,
        mut take: impl FnMut(&mut [u8]),
    ) -> io::Result<()> {
        let mut ready = self.file.readable().await?;
        for _ in 0..most {
            let read =
                ready.try_io(|file| Ok(read(file.get_ref().as_fd(), &mut buffer[offset..])?));
            match read {
                Ok(length) => take(&mut buffer[..offset + length?]),
                Err(_would_block) => break,
            }
        }
        Ok(())
    }
}

fn driver() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")
}

/// Makes the file the end of a device of this name, without a header before packets.
fn name(file: &File, device: &str) -> Result<(), Errno> {
    // SAFETY: a structure of integers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // Names of `Identity` are ASCII and shorter than the array, so a zero ends them.
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as c_short;
    // SAFETY: TUNSETIFF reads and writes an `ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    Errno::result(result).map(drop)
}
