//! Takes packets out of the device and sends them through their tunnels.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    device::{Device, MTU},
    error::TunnelError,
    faults::Part,
    outlets::{HEADROOM, Outlets},
    packet::Ends,
    steering::Steering,
};

/// What became of packets of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelCounts {
    /// They were sent to their backends.
    pub sent: u64,
    /// They are not between the ends of a check, or not of a kind that checks send.
    pub strange: u64,
    /// The kernel did not send them: no way to the backend, a filter, a full queue.
    pub refused: u64,
}

/// Counts of a path in use.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    strange: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> TunnelCounts {
        TunnelCounts {
            sent: self.sent.load(Ordering::Relaxed),
            strange: self.strange.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// Takes packets out of a device and sends them through their tunnels.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) device: Device,
    pub(super) outlets: Outlets,
    pub(super) steering: Arc<Steering>,
    pub(super) counters: Arc<Counters>,
}

/// After so many packets other tasks have their turn.
const BATCH: usize = 64;

impl Reader {
    /// Ends when the device is gone.
    pub(super) async fn run(self) {
        let mut buffer = vec![0; HEADROOM + MTU as usize];
        loop {
            let forward = |packet: &mut [u8]| self.forward(packet);
            if let Err(error) = self.device.read(&mut buffer, HEADROOM, BATCH, forward).await {
                let fault = TunnelError::Gone { device: self.steering.identity.device() };
                tracing::warn!(%fault, %error, "backends are not checked through tunnels");
                self.steering.faults.set(Part::Reader, Some(fault.to_string()));
                return;
            }
            // A flood of packets keeps the device readable, and this from ever waiting for it.
            tokio::task::yield_now().await;
        }
    }

    fn forward(&self, buffer: &mut [u8]) {
        let ends = Ends::of(&buffer[HEADROOM..]);
        let exits = &self.steering.exits;
        let counter = match ends.and_then(|ends| exits.of_at(Instant::now(), &ends)) {
            None => &self.counters.strange,
            Some(exit) => match self.outlets.send(buffer, exit) {
                Ok(()) => &self.counters.sent,
                Err(error) => {
                    tracing::trace!(%error, backend = %exit.backend, "a check's packet is lost");
                    &self.counters.refused
                }
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
