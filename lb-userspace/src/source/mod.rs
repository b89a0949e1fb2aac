//! Registries of backends, each followed by a task of its own.
//!
//! A registry gives snapshots: every answer is complete and replaces the one before. One that
//! fails, or of whose answer a single entry is bad, gives an error instead, and what it said last
//! stays in force. Only a whole and clean answer without entries means that there are none.

#[cfg(feature = "etcd")]
mod backoff;
mod directory_watch;
mod document;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod file;
mod snapshot;

use std::{collections::BTreeMap, future::Future, time::Instant};

use tokio::{sync::mpsc, task::AbortHandle};

use crate::model::{BackendRule, ServiceName, SourceConfig};

pub use error::SourceError;
#[cfg(feature = "etcd")]
pub use etcd::EtcdSource;
pub use file::FileSource;
pub use snapshot::{EntryProblem, MAX_ENTRIES, Snapshot};

/// A registry of one service's backends.
pub trait Source: Send + 'static {
    /// The first call gives the present state, each later one waits for a change.
    ///
    /// An outage is one error, however long it lasts; the answer after it comes even if nothing
    /// has changed. A refused answer is an error each time.
    fn next(&mut self) -> impl Future<Output = Result<Snapshot, SourceError>> + Send;
}

/// What came from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// An answer, good as a whole.
    Answered {
        /// Whose backends these are.
        service: ServiceName,
        /// All of them.
        snapshot: Snapshot,
        /// When it came.
        at: Instant,
        /// For [`Sources::is_current`].
        epoch: u64,
    },
    /// The registry cannot be reached, or its answer was refused. The last good one stays.
    Failed {
        /// Whose registry it is.
        service: ServiceName,
        /// One sentence.
        error: String,
        /// For [`Sources::is_current`].
        epoch: u64,
    },
}

/// The tasks that follow registries. They end with it.
#[derive(Debug)]
pub struct Sources {
    events: mpsc::Sender<SourceEvent>,
    running: BTreeMap<ServiceName, Running>,
    epoch: u64,
}

#[derive(Debug)]
struct Running {
    rule: BackendRule,
    config: SourceConfig,
    epoch: u64,
    task: AbortHandle,
}

impl Sources {
    /// Follows nothing yet.
    #[must_use]
    pub const fn new(events: mpsc::Sender<SourceEvent>) -> Self {
        Self { events, running: BTreeMap::new(), epoch: 0 }
    }

    /// Starts what is new, stops what is gone, restarts what is another registry now, and leaves
    /// the others alone. Must be called in a runtime.
    pub fn reconcile(
        &mut self,
        wanted: impl IntoIterator<Item = (ServiceName, BackendRule, SourceConfig)>,
    ) {
        let mut before = std::mem::take(&mut self.running);
        for (service, rule, config) in wanted {
            let unchanged = before
                .remove(&service)
                .filter(|running| running.rule == rule && running.config == config);
            let running = unchanged.unwrap_or_else(|| self.start(&service, rule, config));
            self.running.insert(service, running);
        }
    }

    /// Whether an event is from a registry that is still followed. Events wait in the channel, so
    /// those of a registry that was replaced or removed can arrive later.
    #[must_use]
    pub fn is_current(&self, event: &SourceEvent) -> bool {
        let (SourceEvent::Answered { service, epoch, .. }
        | SourceEvent::Failed { service, epoch, .. }) = event;
        self.running.get(service).is_some_and(|running| running.epoch == *epoch)
    }

    fn start(&mut self, service: &ServiceName, rule: BackendRule, config: SourceConfig) -> Running {
        self.epoch += 1;
        let pump =
            Pump { service: service.clone(), epoch: self.epoch, events: self.events.clone() };
        let task = match &config {
            SourceConfig::File { path } => {
                tokio::spawn(pump.run(FileSource::new(path.clone(), rule)))
            }
            #[cfg(feature = "etcd")]
            SourceConfig::Etcd { endpoints, prefix } => {
                tokio::spawn(pump.run(EtcdSource::new(endpoints.clone(), prefix, rule)))
            }
            #[cfg(not(feature = "etcd"))]
            SourceConfig::Etcd { .. } => tokio::spawn(pump.run(WithoutEtcd::default())),
        };
        Running { rule, config, epoch: self.epoch, task: task.abort_handle() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Pump {
    service: ServiceName,
    epoch: u64,
    events: mpsc::Sender<SourceEvent>,
}

impl Pump {
    async fn run(self, mut source: impl Source) {
        loop {
            let (service, epoch) = (self.service.clone(), self.epoch);
            let event = match source.next().await {
                Ok(snapshot) => {
                    SourceEvent::Answered { service, snapshot, at: Instant::now(), epoch }
                }
                Err(error) => SourceEvent::Failed { service, error: error.to_string(), epoch },
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// What a build without the feature `etcd` has to say about etcd.
#[cfg(not(feature = "etcd"))]
#[derive(Debug, Default)]
struct WithoutEtcd {
    has_said_so: bool,
}

#[cfg(not(feature = "etcd"))]
impl Source for WithoutEtcd {
    async fn next(&mut self) -> Result<Snapshot, SourceError> {
        if std::mem::replace(&mut self.has_said_so, true) {
            return std::future::pending().await;
        }
        Err(SourceError::Unsupported("this lbd was built without etcd"))
    }
}

#[cfg(test)]
mod tests;
