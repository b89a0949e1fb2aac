//! What the program itself logs, in a build with the feature `bpf-log`: dropped packets, at the
//! level `debug`, as they come.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// Follows the program's log in a task. Without it packets are balanced all the same.
pub(super) fn follow(ebpf: &mut Ebpf) {
    let logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => return tracing::warn!(%error, "the program's log cannot be read"),
    };
    tokio::spawn(async move {
        // SAFETY: the descriptor is the logger's own map and stays open as long as the logger.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let Ok(mut logger) = logger else { return };
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
}
