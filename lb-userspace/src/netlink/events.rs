//! News from the kernel.

use std::{io, time::Duration};

use futures_util::StreamExt as _;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{
    MulticastGroup,
    sys::{AsyncSocket as _, SocketAddr},
};

use super::task::Task;

/// Changes rarely come alone. So long after the first of them the others are waited for.
pub(super) const BURST: Duration = Duration::from_millis(10);

/// Room for some thousand messages. Too small is not wrong, only slow; see [`Event::Lost`].
const BUFFER: usize = 4 << 20;

type Messages =
    futures_channel::mpsc::UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// News from the kernel.
#[derive(Debug)]
pub(super) enum Event {
    /// Something changed.
    Message(RouteNetlinkMessage),
    /// The kernel had more to say than there was room for: anything may have changed.
    Lost,
}

/// A connection for news.
#[derive(Debug)]
pub(super) struct Events {
    messages: Messages,
    _connection: Task,
}

impl Events {
    /// News of these kinds from now on. Must be called in a runtime.
    pub(super) fn open(groups: &[MulticastGroup]) -> io::Result<Self> {
        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(groups)?;
        let _ = setsockopt(connection.socket_mut().socket_ref(), sockopt::RcvBufForce, &BUFFER);
        Ok(Self { messages, _connection: Task::spawn(connection) })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        loop {
            let (message, _) = self.messages.next().await.ok_or(io::ErrorKind::BrokenPipe)?;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => return Ok(Event::Message(message)),
                NetlinkPayload::Overrun(_) => return Ok(Event::Lost),
                _ => {}
            }
        }
    }
}
