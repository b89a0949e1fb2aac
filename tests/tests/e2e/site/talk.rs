//! Connections that are busy while something changes.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lb_tests::Host;

use super::client::Connection;

/// Connections over each of which one question after the other is asked, each when the one before
/// is answered.
pub(crate) struct Talks {
    is_over: Arc<AtomicBool>,
    talks: Vec<JoinHandle<Talk>>,
}

/// What came of one connection.
#[derive(Debug)]
struct Talk {
    #[expect(dead_code, reason = "shown when it is broken")]
    port: u16,
    server: String,
    /// How many questions were answered.
    answered: u32,
    /// The longest time that an answer took.
    longest: Duration,
    /// Why there was no further answer, if there was none.
    broken: Option<String>,
}

/// Longer than what heals by itself takes.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(10);

impl Talks {
    /// Opens a connection from each of these ports and begins to ask.
    #[track_caller]
    pub(crate) fn start(client: &Host, ports: Range<u16>, target: std::net::SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let start = |port| {
            let mut connection = Connection::open(client, port, target)
                .unwrap_or_else(|error| panic!("connection from port {port}: {error}"));
            connection.wait_for(PATIENCE).expect("an open connection");
            let server = connection
                .who()
                .unwrap_or_else(|error| panic!("first answer to port {port}: {error}"));
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || talk(connection, server, &is_over))
        };
        let talks = ports.map(start).collect();
        Self { is_over, talks }
    }

    /// Ends all connections, none of which may have lost its server. Returns the longest time that
    /// an answer took.
    #[track_caller]
    pub(crate) fn finish(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        let talks = self.talks.into_iter().map(|talk| talk.join().expect("no talk panics"));
        let talks: Vec<Talk> = talks.collect();
        let is_whole = |talk: &Talk| talk.broken.is_none() && talk.answered > 0;
        let broken: Vec<&Talk> = talks.iter().filter(|talk| !is_whole(talk)).collect();
        assert!(broken.is_empty(), "{} of {} are broken: {broken:#?}", broken.len(), talks.len());
        talks.iter().map(|talk| talk.longest).max().unwrap_or_default()
    }
}

fn talk(mut connection: Connection, server: String, is_over: &AtomicBool) -> Talk {
    let port = connection.source.port();
    let mut talk = Talk { port, server, answered: 0, longest: Duration::ZERO, broken: None };
    while !is_over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match connection.who() {
            Ok(name) if name == talk.server => talk.answered += 1,
            Ok(other) => talk.broken = Some(format!("{other} answers")),
            Err(error) => talk.broken = Some(error.to_string()),
        }
        talk.longest = talk.longest.max(asked.elapsed());
        if talk.broken.is_some() {
            break;
        }
        thread::sleep(PAUSE);
    }
    talk
}
