//! The certificates that this machine trusts.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync, task::spawn_blocking};
use tokio_rustls::rustls::RootCertStore;

use crate::health::CheckFailure;

/// For so long a change, such as an update of `ca-certificates`, may go unnoticed.
const FRESH: Duration = Duration::from_secs(60);

/// What was read last.
static READ: Mutex<Option<Roots>> = Mutex::new(None);

/// Thousands of first checks must not take a thread each to wait for the same files.
static READING: sync::Mutex<()> = sync::Mutex::const_new(());

/// Those whom this machine trusts: the same as before unless they have changed.
pub(super) async fn of_this_machine() -> Result<Arc<RootCertStore>, CheckFailure> {
    let roots = if let Some(roots) = last() {
        if roots.is_due_at(Instant::now())
            && let Ok(turn) = READING.try_lock()
        {
            // Later checks will know.
            drop(spawn_blocking(|| read(turn)));
        }
        roots
    } else {
        let turn = READING.lock().await;
        match last() {
            Some(roots) => roots,
            // Goes on when a check's time is over, so that the next one finds it done.
            None => spawn_blocking(|| read(turn))
                .await
                .map_err(|error| CheckFailure::Impossible(format!("certificates: {error}")))?,
        }
    };
    if roots.store.is_empty() {
        let why = "this machine trusts no certificates: install ca-certificates, or set ca_file";
        return Err(CheckFailure::Impossible(why.to_owned()));
    }
    Ok(roots.store)
}

/// What was read, and when.
#[derive(Clone)]
struct Roots {
    store: Arc<RootCertStore>,
    at: Instant,
}

impl Roots {
    fn is_due_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= FRESH
    }

    /// The same store if what was read says the same.
    fn renewed(before: Option<&Self>, read: RootCertStore, at: Instant) -> Self {
        let store = match before {
            Some(before) if before.store.roots == read.roots => Arc::clone(&before.store),
            _ => Arc::new(read),
        };
        Self { store, at }
    }
}

fn read(turn: sync::MutexGuard<'static, ()>) -> Roots {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "trusted certificates of this machine");
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    let mut last = lock();
    let roots = Roots::renewed(last.as_ref(), store, Instant::now());
    *last = Some(roots.clone());
    drop((last, turn));
    roots
}

fn last() -> Option<Roots> {
    lock().clone()
}

fn lock() -> MutexGuard<'static, Option<Roots>> {
    READ.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;
    use crate::health::probe::fixture::self_signed;

    fn store(pem: &str) -> RootCertStore {
        let mut store = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        store.add(certificate).expect("a certificate");
        store
    }

    #[test]
    fn a_store_is_another_when_what_was_read_is() {
        let [one, other] = ["one.example", "other.example"].map(|name| self_signed(name, 2999).1);
        let begin = Instant::now();
        let first = Roots::renewed(None, store(&one), begin);
        assert!(!first.is_due_at(begin + FRESH / 2) && first.is_due_at(begin + FRESH));
        let same = Roots::renewed(Some(&first), store(&one), begin + FRESH);
        assert!(Arc::ptr_eq(&first.store, &same.store) && !same.is_due_at(begin + FRESH));
        let changed = Roots::renewed(Some(&same), store(&other), begin + FRESH);
        assert!(!Arc::ptr_eq(&same.store, &changed.store));
    }
}
