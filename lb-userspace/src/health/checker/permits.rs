//! Bounds the file descriptors that checks hold.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};

/// Permits to hold file descriptors: each check that waits for an answer holds one or more, and with
/// thousands of dead backends all of them wait.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    free: Arc<Semaphore>,
    all: u32,
}

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _held: OwnedSemaphorePermit,
}

impl Permits {
    /// Raises this process' limit to what the system allows it, and takes what is not needed for
    /// tables, sockets and files.
    pub(super) fn of_process() -> Self {
        Self::new(beside_reserve(raise_limit()))
    }

    pub(super) fn new(all: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// A permit for so many descriptors at once, or for all that there are; `None` if it did not
    /// come `within` that time. They come in the order in which they were asked for.
    pub(super) async fn get(&self, descriptors: u32, within: Duration) -> Option<Permit> {
        let wanted = descriptors.min(self.all);
        let held = timeout(within, Arc::clone(&self.free).acquire_many_owned(wanted)).await;
        // The other error is that of a semaphore that was closed, which nobody does.
        held.ok()?.ok().map(|held| Permit { _held: held })
    }
}

/// Raises the limit of open file descriptors as far as this process may, and returns it.
fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // What Linux gives by itself.
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Descriptors that are kept for all else: a quarter, of many a thousand.
fn beside_reserve(limit: u64) -> u32 {
    const MOST: u64 = 1 << 20;
    (limit - (limit / 4).min(1024)).clamp(1, MOST) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_reserve() {
        assert_eq!(beside_reserve(1024), 768);
        assert_eq!(beside_reserve(65_536), 64_512);
        assert_eq!(beside_reserve(u64::MAX), 1 << 20);
        assert_eq!(beside_reserve(0), 1);
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let raised = raise_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!((soft, raised), (hard, hard));
    }

    #[tokio::test(start_paused = true)]
    async fn permits_run_out_and_come_back() {
        let permits = Permits::new(3);
        let within = Duration::from_secs(1);
        let two = permits.get(2, within).await.expect("two of three");
        assert!(permits.get(2, within).await.is_none());
        let one = permits.get(1, within).await.expect("the third");
        drop(two);
        permits.get(2, within).await.expect("given back");
        drop(one);
        // Never more than there are, or it would wait for ever.
        permits.get(7, within).await.expect("all");
    }
}
