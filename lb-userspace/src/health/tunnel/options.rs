//! Sockets and socket options that `nix` does not know.

use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::errno::Errno;

/// A socket of any protocol.
pub(super) fn socket(family: c_int, kind: c_int, protocol: u8) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol.into()) };
    let descriptor = Errno::result(result)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sets an option whose value is a number.
pub(super) fn set(socket: impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one number, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// Reads an option whose value is a number.
pub(super) fn get(socket: impl AsFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which the number has, and the length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast::<c_void>(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(value)
}

/// Has the kernel give the socket nothing of what comes in.
pub(super) fn deafen(socket: impl AsFd) -> io::Result<()> {
    // One instruction of classic BPF: keep 0 bytes, which is to drop.
    let mut nothing =
        [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: nothing.as_mut_ptr() };
    // SAFETY: the kernel copies the program and its one instruction, which both outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast::<c_void>(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}
