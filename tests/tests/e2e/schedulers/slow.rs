//! A server that takes connections slowly.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use lb_tests::Host;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, socket,
};

/// Time between two looks at what came.
const PAUSE: Duration = Duration::from_millis(5);

/// Answers the first SYN of a connection not at all and the second, which Linux sends a second
/// later, at once: until told to hurry.
pub(super) struct Slow {
    listener: TcpListener,
    address: SocketAddr,
}

/// Tells whoever is slow to be so no more, or that the test is over.
#[derive(Clone, Default)]
pub(super) struct Word {
    hurry: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Word {
    pub(super) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn is_slow(&self) -> bool {
        !self.hurry.load(Ordering::Relaxed) && !self.is_over()
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Ends whoever listens to the word, also when the test fails.
pub(super) struct Ending<'a>(pub(super) &'a Word);

impl Slow {
    /// Listens, with room for one connection that nobody has taken yet.
    pub(super) fn listen(host: &Host, address: SocketAddr) -> Self {
        let listener = host.enter(|| listen_with_no_room(address)).unwrap();
        Self { listener, address }
    }

    /// Takes connections until the test is over.
    pub(super) fn serve(self, host: &Host, word: &Word) {
        host.enter(|| {
            while word.is_slow() {
                self.take_late(word).unwrap();
            }
            while !word.is_over() {
                self.take(word);
            }
        });
    }

    fn take_late(&self, word: &Word) -> io::Result<()> {
        let refused = refused()?;
        // It has the place of the next one.
        let filler = TcpStream::connect(self.address)?;
        while word.is_slow() && refused == self::refused()? {
            thread::sleep(PAUSE);
        }
        self.take(word);
        drop(filler);
        self.take(word);
        Ok(())
    }

    fn take(&self, word: &Word) {
        while self.listener.accept().is_err() && !word.is_over() {
            thread::sleep(PAUSE);
        }
    }
}

/// SYNs that were not answered for want of room, in this thread's network.
fn refused() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let value = pairs.find_map(|(name, value)| (name == "ListenDrops").then_some(value));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| io::Error::other(text.clone()))
}

/// The standard library's own have room for many.
fn listen_with_no_room(address: SocketAddr) -> nix::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(0)?)?;
    Ok(TcpListener::from(socket))
}
