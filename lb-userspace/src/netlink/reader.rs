//! Reads the kernel's tables in rounds.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    io,
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    entry::Entry,
    finding::Finding,
    interface::Interface,
    outlet::Outlet,
    requests::{Requests, is_lost},
    route::{self, Hop, Next},
    way::Way,
};

/// Reads the kernel's tables in rounds: what many addresses have in common, an interface or a
/// gateway, is read once in each.
#[derive(Debug)]
pub(super) struct Reader {
    requests: Requests,
    /// Names of the interfaces by which packets come in.
    attached: BTreeSet<String>,
    interfaces: BTreeMap<u32, Option<Interface>>,
    entries: BTreeMap<Neighbour, Entry>,
    /// When the kernel was last told to ask.
    asked: BTreeMap<Neighbour, Instant>,
}

/// Index of an interface, and an address behind it.
pub(super) type Neighbour = (u32, IpAddr);

/// How a neighbour is asked that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// As the kernel does it: once a second, three times, and then no more until it is told to.
    Patient,
    /// Anew with every look: it is to be found as soon as it is there.
    Insistent,
}

/// Shortest time between two requests to ask again for a neighbour that did not answer: the kernel
/// may be set up to give up within milliseconds, and says so each time. Much less than the time
/// between two looks, so that one of them is not in vain: an interface that has just come up may have
/// no address to ask from yet.
const ASK_AGAIN: Duration = Duration::from_millis(200);

impl Reader {
    /// `attached` are the names of the interfaces by which packets come in. Must be called in a
    /// runtime.
    pub(super) fn open(attached: BTreeSet<String>) -> io::Result<Self> {
        Ok(Self {
            requests: Requests::open()?,
            attached,
            interfaces: BTreeMap::new(),
            entries: BTreeMap::new(),
            asked: BTreeMap::new(),
        })
    }

    /// Connects anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.requests = Requests::open()?;
        Ok(())
    }

    /// Forgets what was read.
    pub(super) fn begin_round(&mut self) {
        self.interfaces.clear();
        self.entries.clear();
        self.asked.retain(|_, at| at.elapsed() < ASK_AGAIN);
    }

    /// Looks up the way to an address, and has the kernel ask for the next hop if need be.
    ///
    /// An error says that the connection is lost.
    pub(super) async fn look(
        &mut self,
        address: IpAddr,
        care: Care,
    ) -> io::Result<(Option<Hop>, Finding)> {
        match self.try_look(address, care).await {
            Err(error) if !is_lost(&error) => {
                tracing::warn!(%address, %error, "the kernel does not tell the way");
                Ok((None, Finding::Unreadable(error.to_string())))
            }
            other => other,
        }
    }

    /// Has the kernel make sure of a neighbour's hardware address, unless somebody else does.
    ///
    /// An error says that the connection is lost.
    pub(super) async fn probe(&mut self, neighbour: Neighbour) -> io::Result<()> {
        let (interface, address) = neighbour;
        let probed = match self.requests.entry(interface, address).await {
            Ok(Entry::Known(_)) => self.requests.probe(interface, address).await,
            other => other.map(drop),
        };
        self.forgive(neighbour, probed)
    }

    /// Has the kernel ask everybody for a neighbour that has not answered at the hardware address
    /// that it knows: of its own accord it would try that address twice more first.
    ///
    /// An error says that the connection is lost.
    pub(super) async fn ask_if_silent(&mut self, neighbour: Neighbour) -> io::Result<()> {
        let (interface, address) = neighbour;
        let given_up = match self.requests.entry(interface, address).await {
            Ok(Entry::Probed(_)) => self.requests.give_up(interface, address).await,
            other => return self.forgive(neighbour, other.map(drop)),
        };
        self.forgive(neighbour, given_up)?;
        self.ask(neighbour, Entry::Failed).await
    }

    async fn try_look(
        &mut self,
        address: IpAddr,
        care: Care,
    ) -> io::Result<(Option<Hop>, Finding)> {
        let next = match self.requests.route(address).await {
            Ok(answer) => route::next(address, &answer),
            Err(error) => Err(route::refusal(&error).ok_or(error)?),
        };
        let hop = match next {
            Ok(Next::Hop(hop)) => hop,
            Ok(Next::Here) => return Ok((None, Finding::Way(Way::here(address)))),
            Err(fault) => return Ok((None, Finding::Fault(fault))),
        };
        let interface = self.interface(hop.interface).await?;
        let entry = match &interface {
            // Over another one the kernel would ask in vain.
            Some(interface) if interface.sender().is_ok() => self.entry(&hop, care).await?,
            _ => Entry::Absent,
        };
        let finding = Finding::new(address, &hop, interface.as_ref(), entry);
        let Some(interface) = interface else { return Ok((Some(hop), finding)) };
        let below = match interface.vlan.and_then(|vlan| vlan.below) {
            Some(below) => self.interface(below).await?,
            None => None,
        };
        let outlet = Outlet::of(&interface, below.as_ref(), &self.attached);
        Ok((Some(hop), finding.by(outlet)))
    }

    async fn interface(&mut self, index: u32) -> io::Result<Option<Interface>> {
        Ok(match self.interfaces.entry(index) {
            btree_map::Entry::Occupied(known) => known.get().clone(),
            btree_map::Entry::Vacant(place) => {
                place.insert(self.requests.interface(index).await?).clone()
            }
        })
    }

    async fn entry(&mut self, hop: &Hop, care: Care) -> io::Result<Entry> {
        let neighbour = (hop.interface, hop.neighbour);
        if let Some(entry) = self.entries.get(&neighbour) {
            return Ok(*entry);
        }
        let entry = self.requests.entry(hop.interface, hop.neighbour).await?;
        match entry {
            // It has answered. When it falls silent it is asked again without delay.
            Entry::Known(_) | Entry::Probed(_) | Entry::Kept(_) => {
                self.asked.remove(&neighbour);
            }
            Entry::Absent => self.ask(neighbour, entry).await?,
            Entry::Failed if !self.was_asked(neighbour) => self.ask(neighbour, entry).await?,
            Entry::Asking if care == Care::Insistent && !self.was_asked(neighbour) => {
                let forgotten = self.requests.forget(hop.interface, hop.neighbour).await;
                self.forgive(neighbour, forgotten)?;
                self.ask(neighbour, Entry::Absent).await?;
            }
            Entry::Failed | Entry::Asking | Entry::Awaited => {}
        }
        // Only now: whoever cancels this before looks again, and has to get as far as asking.
        self.entries.insert(neighbour, entry);
        Ok(entry)
    }

    async fn ask(&mut self, neighbour: Neighbour, entry: Entry) -> io::Result<()> {
        self.asked.insert(neighbour, Instant::now());
        let (interface, address) = neighbour;
        let asked = self.requests.ask(interface, address, entry).await;
        self.forgive(neighbour, asked)
    }

    fn was_asked(&self, neighbour: Neighbour) -> bool {
        self.asked.get(&neighbour).is_some_and(|last| last.elapsed() < ASK_AGAIN)
    }

    /// Lets a request that came to nothing be; that the connection is lost stays an error.
    fn forgive(&self, (interface, address): Neighbour, outcome: io::Result<()>) -> io::Result<()> {
        match outcome {
            Err(error) if !is_lost(&error) => {
                // The next look tries again, and reports the neighbour if it stays silent.
                tracing::debug!(%address, interface, %error, "the kernel does not ask");
                Ok(())
            }
            other => other,
        }
    }
}
