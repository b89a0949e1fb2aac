//! Many connections that are asked in turn, over and over, while something changes.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use lb_tests::{Host, waiting};

use super::{PATIENCE, client::Connection};

/// Connections, each with the server that it must keep.
pub(crate) type Members = Vec<(Connection, String)>;

/// Opens a connection from each of these ports.
#[track_caller]
pub(crate) fn open(client: &Host, ports: Range<u16>, target: SocketAddr) -> Members {
    let open = |port| {
        let mut connection = Connection::open(client, port, target)
            .unwrap_or_else(|error| panic!("connection from port {port}: {error}"));
        let server =
            connection.who().unwrap_or_else(|error| panic!("first answer to port {port}: {error}"));
        (connection, server)
    };
    ports.map(open).collect()
}

/// Asks each connection once, and tells which are broken.
pub(crate) fn broken(members: &mut Members) -> Vec<String> {
    let broken = |(connection, server): &mut (Connection, String)| {
        let port = connection.source.port();
        match connection.who() {
            Ok(name) if name == *server => None,
            Ok(other) => Some(format!("port {port}: {other} answers, not {server}")),
            Err(error) => Some(format!("port {port}, {server}: {error}")),
        }
    };
    members.iter_mut().filter_map(broken).collect()
}

/// Connections in a thread that asks them.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<(Members, Vec<String>)>,
}

impl Crowd {
    /// Begins to ask them.
    pub(crate) fn start(mut members: Members) -> Self {
        let (is_over, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (over, counted) = (Arc::clone(&is_over), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut all = Vec::new();
            while all.is_empty() && !over.load(Ordering::Relaxed) {
                all = broken(&mut members);
                counted.fetch_add(1, Ordering::Relaxed);
            }
            (members, all)
        });
        Self { is_over, rounds, thread }
    }

    /// Waits until each was asked from now on, and returns the crowd unless one is broken.
    #[track_caller]
    pub(crate) fn go_round(self, when: &str) -> Self {
        let before = self.rounds.load(Ordering::Relaxed);
        waiting::until("all connections to be asked", PATIENCE, || {
            // The first of them may have begun before.
            let rounds = self.rounds.load(Ordering::Relaxed) - before;
            let is_done = rounds >= 2 || self.thread.is_finished();
            is_done.then_some(()).ok_or_else(|| format!("{rounds} rounds"))
        })
        .unwrap_or_else(|error| panic!("{when}: {error}"));
        if !self.thread.is_finished() {
            return self;
        }
        let (members, broken) = self.thread.join().expect("the thread does not panic");
        panic!("{when}: {} of {} are broken: {broken:#?}", broken.len(), members.len());
    }

    /// Ends, and returns the connections, none of which may be broken.
    #[track_caller]
    pub(crate) fn finish(self) -> Members {
        self.is_over.store(true, Ordering::Relaxed);
        let (members, broken) = self.thread.join().expect("the thread does not panic");
        let all = members.len();
        assert!(broken.is_empty(), "{} of {all} are broken: {broken:#?}", broken.len());
        members
    }
}
