//! What the metrics server asks of the daemon.

use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::{Observer, Report, ReportFuture};

/// Asks the daemon's task for reports, and reads its problems.
pub(super) struct DaemonObserver {
    reports: mpsc::Sender<oneshot::Sender<Report>>,
    problems: watch::Receiver<Vec<String>>,
}

impl DaemonObserver {
    pub(super) const fn new(
        reports: mpsc::Sender<oneshot::Sender<Report>>,
        problems: watch::Receiver<Vec<String>>,
    ) -> Self {
        Self { reports, problems }
    }
}

impl Observer for DaemonObserver {
    fn report(&self) -> ReportFuture<'_> {
        Box::pin(async {
            let (sender, receiver) = oneshot::channel();
            // The daemon's task ends only together with the server; until then somebody answers.
            let _ = self.reports.send(sender).await;
            match receiver.await {
                Ok(report) => report,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn readiness(&self) -> Result<(), Vec<String>> {
        let problems = self.problems.borrow();
        if problems.is_empty() { Ok(()) } else { Err(problems.clone()) }
    }
}
