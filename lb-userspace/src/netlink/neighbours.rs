//! The ways to backends, kept true.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    task::Task,
    watcher::Watcher,
    way::{Fault, Way, WayEvent},
};

/// Keeps the ways to a set of addresses true, in a task that ends with this.
///
/// * Neighbours whose hardware address is not known are asked for at once and then twice a second;
///   those that were known, once a second until they are reported.
/// * Those that are known are probed twice a second, or as often as a thousand probes a second allow.
///   One that does not answer in 0.3 s is asked for anew, everybody being asked.
/// * A neighbour that does not answer is reported ([`Fault::Unresolved`]) after five seconds. One that
///   was known is reported as soon as the kernel has marked it failed, which with its defaults takes
///   three. Until then its former way stands.
/// * The kernel gives up a neighbour that it knew without asking everybody. That is done first: one
///   that moved to another hardware address is reported with it, and never as lost.
/// * A route that is gone, or an interface that is down, is reported at once.
///
/// The kernel asks for an IPv6 neighbour from the interface's link-local address. If somebody has
/// taken that away, the neighbour is known only while the kernel itself sends packets to it.
#[derive(Debug)]
pub struct Neighbours {
    orders: mpsc::UnboundedSender<BTreeSet<IpAddr>>,
    _task: Task,
}

impl Neighbours {
    /// Watches nothing yet. `attached` are the names of the interfaces by which packets come in. Must
    /// be called in a runtime.
    ///
    /// The task waits when nobody takes `events`, and ends when nobody can.
    pub fn start(attached: BTreeSet<String>, events: mpsc::Sender<WayEvent>) -> io::Result<Self> {
        let watcher = Watcher::open(attached)?;
        let (orders, received) = mpsc::unbounded_channel();
        Ok(Self { orders, _task: Task::spawn(run(watcher, received, events)) })
    }

    /// Watches these addresses from now on, and no others.
    ///
    /// Each new one leads to an event once its way is known or has failed; then each change does.
    /// An event of an address that is not watched any more may still be in the channel.
    pub fn watch(&self, addresses: BTreeSet<IpAddr>) {
        // The task ends only when nobody takes events any more. Then nothing is to be said.
        let _ = self.orders.send(addresses);
    }
}

async fn run(
    mut watcher: Watcher,
    mut orders: mpsc::UnboundedReceiver<BTreeSet<IpAddr>>,
    events: mpsc::Sender<WayEvent>,
) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(addresses) => watcher.watch(addresses),
                None => return,
            },
            event = watcher.next() => {
                tracing::debug!(address = %event.address, way = ?event.way, "way");
                if events.send(event).await.is_err() {
                    return;
                }
            }
            () = events.closed() => return,
        }
    }
}

/// The ways to these addresses as they are now; neighbours have until `patience` ends to answer.
///
/// Returns as soon as all ways are known or have failed. `attached` are the names of the interfaces
/// by which packets come in. Must be called in a runtime.
pub async fn resolve_once(
    attached: BTreeSet<String>,
    addresses: &BTreeSet<IpAddr>,
    patience: Duration,
) -> BTreeMap<IpAddr, Result<Way, Fault>> {
    let deadline = Instant::now() + patience;
    let mut watcher = match Watcher::open(attached) {
        Ok(watcher) => watcher,
        Err(error) => {
            let fault = Fault::Unreadable(error.to_string());
            return addresses.iter().map(|address| (*address, Err(fault.clone()))).collect();
        }
    };
    watcher.watch(addresses.clone());
    while !watcher.knows_all() && timeout_at(deadline, watcher.next()).await.is_ok() {}
    watcher.verdicts()
}
