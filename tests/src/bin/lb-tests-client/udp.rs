//! The UDP load: numbered datagrams, each of which has to be echoed.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::Context as _;
use lb_tests::{
    clock,
    report::{Failure, Reason},
};
use tokio::{net::UdpSocket, task::LocalSet, time::MissedTickBehavior};

use crate::{LoadArguments, ledger::Ledger, source::address_towards};

/// Several flows, so that several backends are met.
const FLOWS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket and its datagrams that were not echoed yet: number and start.
struct Flow {
    socket: UdpSocket,
    open: RefCell<BTreeMap<u64, u64>>,
    ledger: Ledger,
}

pub(crate) async fn run(arguments: LoadArguments) -> anyhow::Result<()> {
    let ledger = Ledger::default();
    let mut flows = Vec::new();
    for _ in 0..FLOWS {
        flows.push(Rc::new(Flow::new(arguments.target, ledger.clone()).await?));
    }
    let tasks = LocalSet::new();
    for flow in &flows {
        let flow = Rc::clone(flow);
        tasks.spawn_local(async move { flow.receive().await });
    }
    let sender = tasks.spawn_local({
        let flows = flows.clone();
        async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for number in 0.. {
                ticks.tick().await;
                flows[number as usize % FLOWS].send(number).await;
            }
        }
    });
    tasks.spawn_local(async move {
        let mut ticks = tokio::time::interval(PATIENCE / 10);
        loop {
            ticks.tick().await;
            flows.iter().for_each(|flow| flow.give_up());
        }
    });
    tasks.run_until(ledger.report(arguments.interval_ms, || sender.abort())).await
}

impl Flow {
    async fn new(target: SocketAddr, ledger: Ledger) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((address_towards(target)?, 0)).await?;
        socket.connect(target).await.with_context(|| format!("no way to {target}"))?;
        Ok(Self { socket, open: RefCell::default(), ledger })
    }

    async fn send(&self, number: u64) {
        self.open.borrow_mut().insert(number, self.ledger.start());
        // An error here is about an earlier datagram, which will be missed by its number.
        if self.socket.send(number.to_string().as_bytes()).await.is_err() {
            let _ = self.socket.send(number.to_string().as_bytes()).await;
        }
    }

    async fn receive(&self) {
        let mut datagram = [0; 256];
        loop {
            // An ICMP error; what was lost will be missed by its number.
            let Ok(length) = self.socket.recv(&mut datagram).await else {
                continue;
            };
            let text = String::from_utf8_lossy(&datagram[..length]);
            let parsed = text
                .split_once(' ')
                .and_then(|(backend, number)| Some((backend, number.parse().ok()?)));
            // What cannot be read is no echo. A second echo, or one that is too late, has no entry.
            if let Some((backend, number)) = parsed
                && let Some(started_ms) = self.open.borrow_mut().remove(&number)
            {
                self.ledger.served(started_ms, backend);
            }
        }
    }

    fn give_up(&self) {
        let now = clock::now_ms();
        let mut open = self.open.borrow_mut();
        let late = |started_ms| u128::from(now - started_ms) > PATIENCE.as_millis();
        for (number, started_ms) in open.extract_if(.., |_, started_ms| late(*started_ms)) {
            self.ledger.failed(Failure {
                started_ms,
                after_ms: now - started_ms,
                local: self.socket.local_addr().expect("a bound socket has an address"),
                reason: Reason::Timeout,
                detail: format!("no echo of datagram {number} within {PATIENCE:?}"),
            });
        }
    }
}
