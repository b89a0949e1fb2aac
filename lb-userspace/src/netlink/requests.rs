//! Questions to the kernel, one at a time.

use std::{io, net::IpAddr, pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkExtentMask, LinkMessage},
    neighbour::{NeighbourFlags, NeighbourMessage, NeighbourState},
    route::RouteMessage,
};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkGetRequest};
use tokio::time::timeout;

use super::{
    entry::{self, Entry},
    interface::Interface,
    route,
    task::Task,
};

/// A connection for questions. Not the one for events: when too many of those come at once the
/// kernel drops messages, and an answer would be among them.
#[derive(Debug)]
pub(super) struct Requests {
    handle: Handle,
    _connection: Task,
}

/// An answer takes microseconds. It does not come at all if it cannot be decoded: `netlink-proto`
/// then drops it, see
/// <https://github.com/rust-netlink/netlink-proto/blob/v0.14.1/src/codecs.rs>.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Room for a name and its final zero, `IFNAMSIZ`.
const NAME_SIZE: usize = 16;

impl Requests {
    /// Opens a connection. Must be called in a runtime.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, _connection: Task::spawn(connection) })
    }

    /// The way to an address; an error is the kernel's verdict, see [`route::refusal`].
    pub(super) async fn route(&self, address: IpAddr) -> io::Result<RouteMessage> {
        let request = self.handle.route().get(route::question(address));
        first(request.execute()).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// An entry of the neighbour table.
    pub(super) async fn entry(&self, interface: u32, neighbour: IpAddr) -> io::Result<Entry> {
        let question = entry::question(interface, neighbour);
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(question));
        message.header.flags = NLM_F_REQUEST;
        let answers = self.handle.clone().request(message).map_err(error)?;
        let found = if_there(first(answers.map(read_neighbour)).await)?;
        Ok(found.map_or(Entry::Absent, |message| Entry::read(&message)))
    }

    /// Has the kernel ask a neighbour for its hardware address, as `ip neighbour ... use` does.
    pub(super) async fn ask(
        &self,
        interface: u32,
        neighbour: IpAddr,
        known: Entry,
    ) -> io::Result<()> {
        let request = self
            .handle
            .neighbours()
            .add(interface, neighbour)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use);
        let request = match known {
            // Not over one that somebody has made meanwhile: it may be a permanent one.
            Entry::Absent => request,
            _ => request.replace(),
        };
        timeout(LONGEST_WAIT, request.execute()).await?.map_err(error)
    }

    /// Has the kernel ask a neighbour, at the hardware address that it knows, whether it is still
    /// there; if it is not, the kernel gives it up.
    pub(super) async fn probe(&self, interface: u32, neighbour: IpAddr) -> io::Result<()> {
        self.set_state(interface, neighbour, NeighbourState::Probe).await
    }

    /// Has the kernel give a neighbour up, as it does itself after some probes.
    pub(super) async fn give_up(&self, interface: u32, neighbour: IpAddr) -> io::Result<()> {
        self.set_state(interface, neighbour, NeighbourState::Failed).await
    }

    async fn set_state(
        &self,
        interface: u32,
        neighbour: IpAddr,
        state: NeighbourState,
    ) -> io::Result<()> {
        let mut question = entry::question(interface, neighbour);
        question.header.state = state;
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(question));
        // Not one that is gone meanwhile, and without `NLM_F_REPLACE`, which would also say that an
        // IPv6 neighbour is no router.
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        self.order(message).await
    }

    /// Has the kernel forget a neighbour, as `ip neighbour del` does.
    pub(super) async fn forget(&self, interface: u32, neighbour: IpAddr) -> io::Result<()> {
        let question = entry::question(interface, neighbour);
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::DelNeighbour(question));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        self.order(message).await
    }

    /// Has something done. That what it is about is not there any more is no error.
    async fn order(&self, message: NetlinkMessage<RouteNetlinkMessage>) -> io::Result<()> {
        let answers = self.handle.clone().request(message).map_err(error)?;
        if_there(first(answers.map(read_outcome)).await)?;
        Ok(())
    }

    /// An interface by its index.
    pub(super) async fn interface(&self, index: u32) -> io::Result<Option<Interface>> {
        self.one_interface(self.handle.link().get().match_index(index)).await
    }

    /// An interface by its name.
    pub(super) async fn interface_named(&self, name: &str) -> io::Result<Option<Interface>> {
        if name.is_empty() || name.len() >= NAME_SIZE {
            return Ok(None);
        }
        self.one_interface(self.handle.link().get().match_name(name)).await
    }

    async fn one_interface(&self, request: LinkGetRequest) -> io::Result<Option<Interface>> {
        let request =
            request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        let found: Option<LinkMessage> = if_there(first(request.execute()).await)?;
        Ok(found.as_ref().map(Interface::read))
    }

    /// The addresses of all interfaces.
    pub(super) async fn addresses(&self) -> io::Result<Vec<AddressMessage>> {
        let answers = self.handle.address().get().execute();
        timeout(LONGEST_WAIT, answers.try_collect()).await?.map_err(error)
    }
}

/// Whether the connection is of no use any more, and another one is needed.
pub(super) fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

async fn first<T>(
    answers: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> io::Result<Option<T>> {
    timeout(LONGEST_WAIT, pin!(answers).try_next()).await?.map_err(error)
}

/// What is asked for may not be there.
fn if_there<T>(answer: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        Err(error)
            if [Errno::ENODEV, Errno::ENOENT]
                .map(|errno| Some(errno as i32))
                .contains(&error.raw_os_error()) =>
        {
            Ok(None)
        }
        other => other,
    }
}

fn read_neighbour(
    message: NetlinkMessage<RouteNetlinkMessage>,
) -> Result<NeighbourMessage, rtnetlink::Error> {
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => Ok(message),
        NetlinkPayload::Error(error) => Err(rtnetlink::Error::NetlinkError(error)),
        _ => Err(rtnetlink::Error::UnexpectedMessage(message)),
    }
}

/// An acknowledgement does not get as far as this: it ends the answers.
fn read_outcome(message: NetlinkMessage<RouteNetlinkMessage>) -> Result<(), rtnetlink::Error> {
    match message.payload {
        NetlinkPayload::Error(error) => Err(rtnetlink::Error::NetlinkError(error)),
        _ => Ok(()),
    }
}

fn error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        rtnetlink::Error::RequestFailed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}
