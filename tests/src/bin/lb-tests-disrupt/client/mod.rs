//! The client: holds flows, asks over each of them, and says what becomes of them.

mod flow;
mod ledger;
mod opener;
mod pacer;
mod socket;

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use ledger::Ledger;
use opener::{Opener, Wanted};
use pacer::Pacer;

/// Hold flows and say what becomes of them, until SIGTERM
#[derive(Args)]
pub(crate) struct Arguments {
    /// A service; may be repeated. Flows go to one after the other.
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    /// An address of the client's own; may be repeated. One for each target's family at least.
    #[arg(long, required = true)]
    source: Vec<IpAddr>,
    /// How many connections to hold.
    #[arg(long, default_value_t = 1000)]
    tcp: u32,
    /// How many UDP flows to hold.
    #[arg(long, default_value_t = 0)]
    udp: u32,
    /// Milliseconds from one question of a flow to the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    interval_ms: u64,
    /// Milliseconds without an answer that break a flow.
    #[arg(long, default_value_t = 3000)]
    silence_ms: u64,
    /// How many connections to open beside those each second, each for some seconds.
    #[arg(long, default_value_t = 0)]
    new_per_second: u32,
}

/// Beside the longest silence, time for the questions that are open at the end.
const MORE_PATIENCE: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let tasks = LocalSet::new();
    let ledger = Ledger::default();
    let wanted = Wanted {
        tcp: arguments.tcp,
        udp: arguments.udp,
        targets: arguments.target,
        sources: arguments.source,
    };
    let pacer = Rc::new(Pacer::new(arguments.interval_ms, arguments.silence_ms, ledger.clone()));
    let opener = Rc::new(Opener::new(wanted, Rc::clone(&pacer), ledger.clone())?);
    tasks.spawn_local(Rc::clone(&pacer).run());
    tasks
        .run_until(async {
            tokio::select! {
                result = opener.open_all() => result?,
                _ = terminated.recv() => return anyhow::Ok(()),
            }
            ledger.ready();
            tokio::task::spawn_local(Rc::clone(&opener).replace());
            if arguments.new_per_second > 0 {
                tokio::task::spawn_local(Rc::clone(&opener).open_new(arguments.new_per_second));
            }
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = seconds.tick() => ledger.count(),
                    _ = terminated.recv() => break,
                }
            }
            opener.stop();
            pacer.settle(Duration::from_millis(arguments.silence_ms) + MORE_PATIENCE).await;
            ledger.summary();
            Ok(())
        })
        .await
}
