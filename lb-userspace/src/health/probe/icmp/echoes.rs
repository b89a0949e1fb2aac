//! Requests that wait for their replies.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::pending,
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
    time::Instant,
};

use super::{
    packet::{self, Answer, Heard, TOKEN, Token},
    socket::EchoSocket,
};
use crate::health::CheckFailure;

/// A socket, and the requests that wait for their replies there.
#[derive(Debug)]
pub(super) struct Echoes {
    socket: AsyncFd<EchoSocket>,
    waiting: Mutex<HashMap<u16, Waiting>>,
    random: RandomState,
}

#[derive(Debug)]
struct Waiting {
    remote: IpAddr,
    token: Token,
    since: Instant,
    tell: oneshot::Sender<Heard>,
}

/// A request that waits until it is dropped.
#[derive(Debug)]
pub(super) struct Echo {
    echoes: Arc<Echoes>,
    pub(super) sequence: u16,
    pub(super) token: Token,
    hears: oneshot::Receiver<Heard>,
}

impl Echoes {
    pub(super) fn new(socket: EchoSocket) -> io::Result<Self> {
        // SAFETY: the socket keeps its descriptor for as long as it lives.
        let socket = unsafe {
            AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE)
        }?;
        Ok(Self { socket, waiting: Mutex::default(), random: RandomState::new() })
    }

    pub(super) fn socket(&self) -> &EchoSocket {
        self.socket.get_ref()
    }

    /// Waits from now on for a reply from there. The sequence number is one that no other request
    /// has, and the token one that nobody can know who has not seen the request.
    pub(super) fn begin(self: &Arc<Self>, remote: IpAddr) -> Result<Echo, CheckFailure> {
        let (tell, hears) = oneshot::channel();
        let token = random_token();
        let mut waiting = self.waiting();
        let first = self.random.hash_one(token) as u16;
        let free = (0..=u16::MAX).map(|step| first.wrapping_add(step));
        for sequence in free {
            if let Entry::Vacant(entry) = waiting.entry(sequence) {
                entry.insert(Waiting { remote, token, since: Instant::now(), tell });
                return Ok(Echo { echoes: Arc::clone(self), sequence, token, hears });
            }
        }
        let why = "65536 echo requests are waiting already".to_owned();
        Err(CheckFailure::Impossible(why))
    }

    /// Sends the request.
    pub(super) async fn send(&self, echo: &Echo, remote: SocketAddr) -> io::Result<()> {
        let socket = self.socket();
        let request = packet::request(socket.family(), socket.id(), echo.sequence, &echo.token);
        let send = |socket: &EchoSocket| socket.send(&request, remote).map_err(io::Error::from);
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// Hands answers to those who wait. Ends only with the task.
    pub(super) async fn read(self: Arc<Self>) {
        let mut packet = vec![0; MOST];
        loop {
            let receive = |socket: &EchoSocket| socket.receive(&mut packet);
            match self.socket.async_io(Interest::READABLE, receive).await {
                Ok(Some(answer)) => self.hand_over(&answer),
                // A message that is none of ours, or an error that belongs to no request here.
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot read ICMP messages"),
            }
        }
    }

    fn hand_over(&self, answer: &Answer) {
        let mut waiting = self.waiting();
        let Entry::Occupied(entry) = waiting.entry(answer.sequence) else { return };
        let expected = entry.get();
        // Errors quote 8 bytes of the request at least (RFC 792), which end before the token.
        let is_known = answer.token.map_or(answer.errno.is_some(), |token| token == expected.token);
        if answer.remote == expected.remote && is_known {
            let Waiting { since, tell, .. } = entry.remove();
            let heard = match answer.errno {
                None => Heard::Reply(since.elapsed()),
                Some(errno) => Heard::Unreachable(errno),
            };
            // Fails if nobody waits any more.
            let _ = tell.send(heard);
        }
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u16, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most of a message that is read; what is looked at lies in the first 100 bytes.
const MOST: usize = 512;

impl Echo {
    /// Waits for what becomes of the request; for ever if nothing does.
    pub(super) async fn heard(&mut self) -> Heard {
        match (&mut self.hears).await {
            Ok(heard) => heard,
            // The other end stands in the table until it was told.
            Err(_) => pending().await,
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let mut waiting = self.echoes.waiting();
        // Somebody else may have the number by now.
        if let Entry::Occupied(entry) = waiting.entry(self.sequence)
            && entry.get().token == self.token
        {
            entry.remove();
        }
    }
}

fn random_token() -> Token {
    let mut token = [0; TOKEN];
    for half in token.chunks_exact_mut(8) {
        // Keyed anew each time, from the kernel's randomness.
        half.copy_from_slice(&RandomState::new().hash_one(0_u8).to_ne_bytes());
    }
    token
}
