//! Opening flows: those that are held, those that take the place of broken ones, and new ones.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use lb_tests::{
    clock,
    disruption::report::{Event, Kind, Protocol},
};
use tokio::{
    sync::Semaphore,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{flow::Flow, ledger::Ledger, pacer::Pacer, socket::Socket};

/// What flows shall be held, between whom.
pub(super) struct Wanted {
    pub(super) tcp: u32,
    pub(super) udp: u32,
    pub(super) targets: Vec<SocketAddr>,
    pub(super) sources: Vec<IpAddr>,
}

/// Opens flows, one after the other from each address to each target.
pub(super) struct Opener {
    wanted: Wanted,
    pacer: Rc<Pacer>,
    ledger: Ledger,
    /// The next flow's number.
    next: Cell<u64>,
    is_stopped: Cell<bool>,
    /// Connections that are being opened now.
    doors: Semaphore,
}

/// A listener's backlog is not endless.
const AT_ONCE: usize = 128;
/// How often all flows are tried at the start.
const ATTEMPTS: usize = 3;
/// How long a connection is held that is opened beside the others.
const HELD_MS: u64 = 3000;
/// For the handshake: a SYN that is lost is sent again after a second.
const PATIENCE: Duration = Duration::from_secs(3);

impl Opener {
    pub(super) fn new(wanted: Wanted, pacer: Rc<Pacer>, ledger: Ledger) -> anyhow::Result<Self> {
        for target in &wanted.targets {
            let fits = |source: &IpAddr| source.is_ipv4() == target.is_ipv4();
            let none = || format!("no source for {target}");
            wanted.sources.iter().find(|source| fits(source)).with_context(none)?;
        }
        let (next, is_stopped) = (Cell::new(0), Cell::new(false));
        Ok(Self { wanted, pacer, ledger, next, is_stopped, doors: Semaphore::new(AT_ONCE) })
    }

    /// Opens all flows that shall be held.
    pub(super) async fn open_all(self: &Rc<Self>) -> anyhow::Result<()> {
        for _ in 0..ATTEMPTS {
            self.open_missing().await;
            if self.missing().iter().all(|(_, missing)| *missing == 0) {
                return Ok(());
            }
        }
        bail!("flows cannot be opened: {:?} are missing", self.missing())
    }

    /// Opens a flow in place of each that is over, for ever.
    pub(super) async fn replace(self: Rc<Self>) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.open_missing().await;
        }
    }

    /// Opens connections beside those that are held, for ever.
    pub(super) async fn open_new(self: Rc<Self>, per_second: u32) {
        let mut ticks = interval(Duration::from_secs(1) / per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let opener = Rc::clone(&self);
            let ends_ms = Some(clock::now_ms() + HELD_MS);
            tokio::task::spawn_local(async move { opener.open(Protocol::Tcp, ends_ms).await });
        }
    }

    /// Opens nothing more.
    pub(super) fn stop(&self) {
        self.is_stopped.set(true);
    }

    /// Opens as many flows as are missing at this moment, and waits for all answers.
    async fn open_missing(self: &Rc<Self>) {
        let mut opening = tokio::task::JoinSet::new();
        for (protocol, missing) in self.missing() {
            for _ in 0..missing {
                let opener = Rc::clone(self);
                opening.spawn_local(async move { opener.open(protocol, None).await });
            }
        }
        opening.join_all().await;
    }

    fn missing(&self) -> [(Protocol, usize); 2] {
        let held: Vec<_> =
            self.pacer.flows().into_iter().filter(|flow| flow.ends_ms.is_none()).collect();
        [(Protocol::Tcp, self.wanted.tcp), (Protocol::Udp, self.wanted.udp)].map(
            |(protocol, wanted)| {
                let held = held.iter().filter(|flow| flow.protocol() == protocol).count();
                (protocol, (wanted as usize).saturating_sub(held))
            },
        )
    }

    async fn open(&self, protocol: Protocol, ends_ms: Option<u64>) {
        let _door = self.doors.acquire().await.expect("the doors are never closed");
        if self.is_stopped.get() {
            return;
        }
        let number = self.next.replace(self.next.get() + 1);
        let (source, target) = self.ends(number);
        let opened_ms = clock::now_ms();
        let socket = timeout(PATIENCE, Socket::open(protocol, source, target)).await;
        let result = match socket {
            Err(_) => Err("no answer to the SYN".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(socket)) => Flow::new(number, socket, ends_ms, self.ledger.clone())
                .map_err(|error| error.to_string()),
        };
        match result {
            Ok(flow) => self.until_answered(flow).await,
            Err(detail) => self.ledger.event(Event {
                kind: Kind::Unopened,
                at_ms: clock::now_ms(),
                opened_ms,
                protocol,
                local: source,
                backend: None,
                stranger: None,
                answered: None,
                waited_ms: clock::now_ms() - opened_ms,
                detail,
            }),
        }
    }

    async fn until_answered(&self, flow: Flow) {
        let flow = Rc::new(flow);
        self.pacer.add(Rc::clone(&flow));
        while !flow.is_answered() && !flow.is_over() {
            // The pacer breaks flows that stay silent.
            let _ = timeout(Duration::from_millis(50), flow.changed.notified()).await;
        }
        // Doors that open one after the other leave time for what is open already.
        sleep(Duration::from_millis(1)).await;
    }

    /// The two ends of a flow; the port is the kernel's to choose.
    fn ends(&self, number: u64) -> (SocketAddr, SocketAddr) {
        let targets = &self.wanted.targets;
        let target = targets[number as usize % targets.len()];
        let fitting = |source: &&IpAddr| source.is_ipv4() == target.is_ipv4();
        let sources: Vec<_> = self.wanted.sources.iter().filter(fitting).collect();
        let source = sources[number as usize / targets.len() % sources.len()];
        (SocketAddr::new(*source, 0), target)
    }
}
