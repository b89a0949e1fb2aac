//! A backend that answers checks, notes when flows come, and can be cut off.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{FAMILY, INTERVAL, PORT, Trial};
use crate::{Host, address};

/// Without a flow for so long a backend has seen its last one.
const QUIET: Duration = Duration::from_millis(1500);
/// What takes longer will never be.
const PATIENCE: Duration = Duration::from_secs(20);

/// A backend's sockets.
#[derive(Debug)]
pub(super) struct Backend<'a> {
    host: &'a Host,
    flows: UdpSocket,
}

impl<'a> Backend<'a> {
    /// Listens for checks at its own address, and for flows at the service's.
    pub(super) fn open(host: &'a Host, own: IpAddr) -> io::Result<Self> {
        let service = SocketAddr::new(address::service(FAMILY, 1), PORT);
        let (listener, flows) = host.enter(|| {
            io::Result::Ok((TcpListener::bind((own, PORT))?, UdpSocket::bind(service)?))
        })?;
        // Ends with the process. A connection is closed as soon as it is there.
        thread::spawn(move || listener.incoming().for_each(drop));
        Ok(Self { host, flows })
    }

    /// Cuts the backend off and connects it again, each at a random moment between checks.
    pub(super) fn trial(&self) -> anyhow::Result<Trial> {
        self.watch(INTERVAL.mul_f64(fastrand::f64()))?;
        // The time before the command: it counts as a part of what is measured.
        let cut = Instant::now();
        self.route("add")?;
        let mut last = cut;
        while let Some(at) = self.next(QUIET)? {
            last = at;
            ensure!(cut.elapsed() < PATIENCE, "{} gets flows, cut off or not", self.host.name());
        }
        thread::sleep(INTERVAL.mul_f64(fastrand::f64()));
        let returned = Instant::now();
        self.route("del")?;
        let first = self.next(PATIENCE)?;
        let Some(first) = first else { anyhow::bail!("{} never comes back", self.host.name()) };
        Ok(Trial { out: last - cut, back: first - returned })
    }

    /// Answers to the balancer vanish in silence, or do not any more.
    fn route(&self, verb: &str) -> anyhow::Result<()> {
        let balancer = address::balancer(FAMILY);
        Ok(self.host.ip(&format!("route {verb} blackhole {balancer}/32"))?)
    }

    /// Takes flows for a time.
    fn watch(&self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.next(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// When the next flow comes; `None` if none does for so long.
    fn next(&self, patience: Duration) -> io::Result<Option<Instant>> {
        self.flows.set_read_timeout(Some(patience))?;
        match self.flows.recv(&mut [0; 16]) {
            Ok(_) => Ok(Some(Instant::now())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
