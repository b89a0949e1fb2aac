//! The thread that long-lived children are started from.
//!
//! "Die with the parent" (`PR_SET_PDEATHSIG`) means the *thread* that started the child, see
//! prctl(2). Started from a test's own thread, a holder would be killed when that thread ends, for
//! instance the thread of a fixture shared by several tests.

use std::sync::{
    OnceLock,
    mpsc::{Sender, channel},
};

type Job = Box<dyn FnOnce() + Send>;

/// Runs `job` on a thread that lives as long as this process, and returns what it returns.
pub(crate) fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    let job: Job = Box::new(move || {
        // The receiver waits below; it can be gone only if this thread's caller was killed.
        let _ = done.send(job());
    });
    keeper().send(job).expect("the keeper thread never ends");
    result.recv().expect("the keeper runs every job to its end")
}

fn keeper() -> &'static Sender<Job> {
    static KEEPER: OnceLock<Sender<Job>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || jobs.into_iter().for_each(|job| job()))
            .expect("a process can have a second thread");
        sender
    })
}
