//! Clients that begin flows all the time.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{FAMILY, PORT};
use crate::{Host, address};

/// Client ports that take turns.
const PORTS: usize = 400;
/// About 2,000 datagrams a second, 200 for each of ten backends.
const BURST: usize = 2;
const PAUSE: Duration = Duration::from_millis(1);

/// They send until this is dropped.
#[derive(Debug)]
pub(super) struct Clients {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    pub(super) fn start(host: &Host) -> io::Result<Self> {
        let service = SocketAddr::new(address::service(FAMILY, 1), PORT);
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((address::client(FAMILY), 0))?;
            socket.connect(service)?;
            Ok(socket)
        };
        let sockets: Vec<_> =
            host.enter(|| (0..PORTS).map(|_| open()).collect::<io::Result<_>>())?;
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let thread = thread::spawn(move || send(&sockets, &told));
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and if it does the measurement is over all the same.
            let _ = thread.join();
        }
    }
}

fn send(sockets: &[UdpSocket], is_over: &AtomicBool) {
    let mut turns = sockets.iter().cycle();
    while !is_over.load(Ordering::Relaxed) {
        for socket in turns.by_ref().take(BURST) {
            // One datagram that is not sent is one less.
            let _ = socket.send(b"hello");
        }
        thread::sleep(PAUSE);
    }
}
