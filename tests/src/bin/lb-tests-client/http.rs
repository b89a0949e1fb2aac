//! The HTTP load.

use std::{net::SocketAddr, time::Duration};

use lb_tests::{
    clock,
    report::{Failure, Reason},
};
use tokio::{task::LocalSet, time::MissedTickBehavior};

use crate::{
    LoadArguments,
    exchange::{self, Fault},
    ledger::Ledger,
    source::Sources,
};

/// Starts requests at the wanted rate, each as a task of its own: a slow answer delays no other
/// request, so it cannot hide what happened meanwhile.
pub(crate) async fn run(arguments: LoadArguments) -> anyhow::Result<()> {
    let ledger = Ledger::default();
    let mut sources = Sources::towards(arguments.target)?;
    let tasks = LocalSet::new();
    let sender = tasks.spawn_local({
        let ledger = ledger.clone();
        async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                tokio::task::spawn_local(account(ledger.clone(), arguments.target, sources.next()));
            }
        }
    });
    tasks.run_until(ledger.report(arguments.interval_ms, || sender.abort())).await
}

async fn account(ledger: Ledger, target: SocketAddr, source: SocketAddr) {
    let started_ms = ledger.start();
    let outcome = tokio::time::timeout(PATIENCE, request(target, source)).await;
    match outcome.unwrap_or_else(|_| Err(too_late())) {
        Ok(backend) => ledger.served(started_ms, &backend),
        Err(fault) => ledger.failed(Failure {
            started_ms,
            after_ms: clock::now_ms() - started_ms,
            local: source,
            reason: fault.reason,
            detail: fault.detail,
        }),
    }
}

async fn request(target: SocketAddr, source: SocketAddr) -> Result<String, Fault> {
    let answer = exchange::get(target, source, "/").await?;
    let backend = answer.backend.clone();
    answer.read(|_, _| Ok(())).await?;
    Ok(backend)
}

fn too_late() -> Fault {
    Fault { reason: Reason::Timeout, detail: format!("no answer within {PATIENCE:?}") }
}

/// Long enough for two lost SYNs (1 s, then 2 s): what fails now is lost, not slow.
const PATIENCE: Duration = Duration::from_secs(3);
