//! Tells when a file may have changed, by the directory that it lies in.
//!
//! Not by the file itself: whoever replaces a file renames another one over it, and a Kubernetes
//! ConfigMap swaps the link `..data` beside it. A watch of the file would stay with the old one.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, timeout, timeout_at},
};

/// Quiet time after which a change counts as finished.
pub(super) const SETTLE: Duration = Duration::from_millis(50);
/// Quiet time after a write whose writer has not closed the file yet.
const WRITING: Duration = Duration::from_secs(1);
/// Longest time that a restless file is waited for.
const LONGEST: Duration = Duration::from_secs(3);
/// Time between looks without an event: for network file systems, links into other directories,
/// directories that come and go, and machines that have no inotify instances left.
const POLL: Duration = Duration::from_secs(2);

/// The link by which Kubernetes swaps all files of a ConfigMap at once.
const CONFIG_MAP_LINK: &str = "..data";

/// Tells when a file may have changed.
#[derive(Debug)]
pub(super) struct DirectoryWatch {
    directory: PathBuf,
    name: OsString,
    inotify: Option<AsyncFd<Descriptor>>,
}

impl DirectoryWatch {
    /// Must be called in a runtime. Changes from now on are noticed.
    pub(super) fn new(path: &Path) -> Self {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let opened = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .map_err(io::Error::from)
            .and_then(register);
        let inotify = opened
            .inspect_err(|error| {
                let path = path.display();
                tracing::warn!(%path, %error, "no inotify: the file is looked at every {POLL:?}");
            })
            .ok();
        let watch = Self { directory, name: path.file_name().unwrap_or_default().into(), inotify };
        watch.attach();
        watch
    }

    /// Returns when the file may have changed and is quiet again, or when it is time for a look.
    pub(super) async fn changed(&mut self) {
        let Ok(mut patience) = timeout(POLL, self.event()).await else {
            // The directory may be another one by now. For the same one this changes nothing.
            self.attach();
            return;
        };
        let latest = Instant::now() + LONGEST;
        while let Ok(next) = timeout_at(latest.min(Instant::now() + patience), self.event()).await {
            patience = next;
        }
    }

    fn attach(&self) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        if let Some(inotify) = &self.inotify {
            // A directory that is not there (yet) is found by the polling.
            let _ = inotify.get_ref().0.add_watch(&self.directory, flags);
        }
    }

    /// Waits for an event that concerns the file; returns how long to wait for the next one.
    async fn event(&self) -> Duration {
        let Some(inotify) = &self.inotify else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = inotify.readable().await else {
                return std::future::pending().await;
            };
            let Ok(Ok(events)) =
                ready.try_io(|inotify| inotify.get_ref().0.read_events().map_err(Into::into))
            else {
                continue;
            };
            let concerning = events.iter().filter(|event| self.concerns(event.name.as_deref()));
            if let Some(patience) = concerning.map(|event| patience(event.mask)).next_back() {
                return patience;
            }
        }
    }

    /// Events without a name are about the directory itself, or say that some were lost.
    fn concerns(&self, name: Option<&OsStr>) -> bool {
        name.is_none_or(|name| name == self.name || name == CONFIG_MAP_LINK)
    }
}

fn register(inotify: Inotify) -> io::Result<AsyncFd<Descriptor>> {
    // SAFETY: the descriptor belongs to the `Inotify`, which nothing takes out of here, so it stays
    // open and the same until both are dropped.
    unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE) }
        .map_err(Into::into)
}

/// An inotify with the trait by which tokio asks for descriptors.
#[derive(Debug)]
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn patience(event: AddWatchFlags) -> Duration {
    let unfinished = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
    if event.intersects(unfinished) { WRITING } else { SETTLE }
}
