//! Telling that the caller may not do something from everything else that can go wrong.

use std::{error::Error, io};

use aya::programs::ProgramError;
use nix::errno::Errno;

use crate::api::protocol::FailureKind;

/// The kind of a failure, `otherwise` unless the caller may not do it.
pub(super) fn kind_of(error: &(dyn Error + 'static), otherwise: FailureKind) -> FailureKind {
    if is_refused(error) { FailureKind::Permission } else { otherwise }
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    // EACCES is what the verifier says of a program, and EPERM what the kernel says of its owner.
    let boxed = || error.downcast_ref::<Box<ProgramError>>().map(|program| &**program);
    if let Some(ProgramError::LoadError { io_error, .. }) = error.downcast_ref().or_else(boxed) {
        return io_error.raw_os_error() == Some(Errno::EPERM as i32);
    }
    let is_refusal = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    error.downcast_ref().is_some_and(is_refusal) || error.source().is_some_and(is_refused)
}

/// Runs something as nobody who may enter a directory that it is given.
#[cfg(test)]
pub(super) fn as_nobody<T: Send>(work: impl FnOnce(&std::path::Path) -> T + Send) -> T {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().expect("a directory");
    let closed = directory.path().join("pins");
    std::fs::create_dir(&closed).expect("room");
    let permit = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode));
    permit(0).expect("ours");
    let result = std::thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            // Of this thread only. Root loses with it what lets it enter every directory.
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            work(&closed)
        });
        nobody.join().expect("no panic")
    });
    permit(0o700).expect("ours");
    result
}

#[cfg(test)]
mod tests {
    use aya::maps::MapError;

    use super::*;
    use crate::{
        datapath::{DatapathError, pins::PinError},
        decap::DecapError,
    };

    #[test]
    fn refusals_are_found_however_deep_they_lie() {
        let file = |errno: Errno| PinError::File { path: "/x".into(), source: errno.into() };
        let call = |errno: Errno| {
            MapError::from(aya::sys::SyscallError { call: "bpf_obj_get", io_error: errno.into() })
        };
        let kind = |error: &(dyn Error + 'static)| kind_of(error, FailureKind::Negative);
        for errno in [Errno::EACCES, Errno::EPERM] {
            assert_eq!(kind(&DecapError::from(file(errno))), FailureKind::Permission);
            assert_eq!(kind(&DatapathError::from(file(errno))), FailureKind::Permission);
            let map = DecapError::Map { name: "MAP", source: call(errno) };
            assert_eq!(kind(&map), FailureKind::Permission);
        }
        assert_eq!(kind(&DecapError::from(file(Errno::EIO))), FailureKind::Negative);
        assert_eq!(kind(&DecapError::NotAttached("eth0".to_owned())), FailureKind::Negative);
    }
}
