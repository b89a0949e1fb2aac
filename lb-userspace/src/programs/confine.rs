//! What a program that a hook or a check runs must not inherit of lbd: its capabilities.

use std::io;

/// Empty sets of capabilities, in the form of capset(2), version 3: two words each.
#[repr(C)]
#[derive(Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION_3: u32 = 0x2008_0522;

/// Gives up all capabilities for good, also those that an exec would bring to root or a program
/// with the set-user-ID bit, and is no dearer than others when memory runs out. For the time between
/// fork and exec: makes system calls and nothing else.
///
/// It does not ask to be killed when its parent ends (`PR_SET_PDEATHSIG`): for the kernel that is the
/// thread that forked, and threads may end while lbd goes on.
pub(crate) fn give_up() -> io::Result<()> {
    // SAFETY: prctl with these options takes numbers only.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))?;
    }
    // Of others the exec takes what is left (capabilities(7)), and a filter of system calls may forbid
    // them this one.
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        drop_all()?;
    }
    be_expendable();
    Ok(())
}

fn drop_all() -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let sets = [Sets::default(), Sets::default()];
    // SAFETY: header and sets live until the call returns and have the form that version 3 asks for.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) };
    check(result as i32)
}

/// Who runs lbd may have told the kernel to spare it. Where this fails nothing else depends on it.
fn be_expendable() {
    // SAFETY: the path ends with a zero byte, the text is of this length, and the descriptor is ours.
    unsafe {
        let file =
            libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, c"0".as_ptr().cast(), 1);
            libc::close(file);
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
