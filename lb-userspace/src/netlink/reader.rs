//! Reads the kernel's tables in rounds.

use std::{
    collections::{BTreeMap, btree_map},
    io,
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    entry::{Care, Entry},
    finding::Finding,
    interface::Interface,
    requests::{Requests, is_lost},
    route::{self, Hop},
};

/// Reads the kernel's tables in rounds: what many addresses have in common, an interface or a
/// gateway, is read once in each.
#[derive(Debug)]
pub(super) struct Reader {
    requests: Requests,
    care: Care,
    interfaces: BTreeMap<u32, Option<Interface>>,
    entries: BTreeMap<Neighbour, Entry>,
    /// When the kernel was last told to ask.
    asked: BTreeMap<Neighbour, Instant>,
}

/// Index of an interface, and an address behind it.
type Neighbour = (u32, IpAddr);

/// Shortest time between two requests to ask again for a neighbour that did not answer, a little
/// less than the time between two looks at it: the kernel may be set up to give up within
/// milliseconds, and says so each time.
const ASK_AGAIN: Duration = Duration::from_millis(900);

impl Reader {
    /// Must be called in a runtime.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            requests: Requests::open()?,
            care: Care::Missing,
            interfaces: BTreeMap::new(),
            entries: BTreeMap::new(),
            asked: BTreeMap::new(),
        })
    }

    /// Forgets what was read.
    pub(super) fn begin_round(&mut self, care: Care) {
        self.care = care;
        self.interfaces.clear();
        self.entries.clear();
        self.asked.retain(|_, at| at.elapsed() < ASK_AGAIN);
    }

    /// Looks up the way to an address, and has the kernel ask for the next hop if need be.
    ///
    /// An error says that the connection is lost.
    pub(super) async fn look(&mut self, address: IpAddr) -> io::Result<(Option<Hop>, Finding)> {
        match self.try_look(address).await {
            Err(error) if !is_lost(&error) => {
                tracing::warn!(%address, %error, "the kernel does not tell the way");
                Ok((None, Finding::Unreadable(error.to_string())))
            }
            other => other,
        }
    }

    async fn try_look(&mut self, address: IpAddr) -> io::Result<(Option<Hop>, Finding)> {
        let hop = match self.requests.route(address).await {
            Ok(answer) => route::hop(address, &answer),
            Err(error) => Err(route::refusal(&error).ok_or(error)?),
        };
        let hop = match hop {
            Ok(hop) => hop,
            Err(fault) => return Ok((None, Finding::Fault(fault))),
        };
        let interface = self.interface(hop.interface).await?;
        let entry = match &interface {
            // Over another one the kernel would ask in vain.
            Some(interface) if interface.sender().is_ok() => self.entry(&hop).await?,
            _ => Entry::Absent,
        };
        let finding = Finding::new(&hop, interface.as_ref(), entry);
        Ok((Some(hop), finding))
    }

    async fn interface(&mut self, index: u32) -> io::Result<Option<Interface>> {
        Ok(match self.interfaces.entry(index) {
            btree_map::Entry::Occupied(known) => known.get().clone(),
            btree_map::Entry::Vacant(place) => {
                place.insert(self.requests.interface(index).await?).clone()
            }
        })
    }

    async fn entry(&mut self, hop: &Hop) -> io::Result<Entry> {
        let neighbour = (hop.interface, hop.neighbour);
        if let Some(entry) = self.entries.get(&neighbour) {
            return Ok(*entry);
        }
        let entry = self.requests.entry(hop.interface, hop.neighbour).await?;
        if matches!(entry, Entry::Known(_) | Entry::Stale(_)) {
            // It has answered. When it falls silent it is asked again without delay.
            self.asked.remove(&neighbour);
        }
        if entry.wants_asking(self.care) {
            self.ask(neighbour, entry).await?;
        }
        // Only now: whoever cancels this before looks again, and has to get as far as asking.
        self.entries.insert(neighbour, entry);
        Ok(entry)
    }

    async fn ask(&mut self, neighbour: Neighbour, entry: Entry) -> io::Result<()> {
        let last = self.asked.get(&neighbour);
        if entry == Entry::Failed && last.is_some_and(|last| last.elapsed() < ASK_AGAIN) {
            return Ok(());
        }
        self.asked.insert(neighbour, Instant::now());
        let (interface, address) = neighbour;
        match self.requests.ask(interface, address, entry).await {
            Err(error) if !is_lost(&error) => {
                // The next look tries again, and reports the neighbour if it stays silent.
                tracing::debug!(%address, interface, %error, "the kernel does not ask");
                Ok(())
            }
            other => other,
        }
    }
}
