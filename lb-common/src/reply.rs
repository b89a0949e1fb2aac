//! Answers that the balancer gives itself: echo replies, ICMP errors, resets.
//!
//! A packet is answered before anything of it is changed, so that an error quotes what came. The
//! answer leaves by the interface that the packet came in by, to the hardware address that it came
//! from, under the same VLAN tags. What may not be answered, or cannot, gets the plain verdict of
//! its occasion.

mod echo;
mod ends;
mod error;
mod reset;

use self::{ends::Ends, error::Message};
use crate::{
    frame::Frame, packet::Kind, service::UDP, settings::Settings, tables::Tables, uncommon::Work,
    verdict::Verdict,
};

/// What a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is about.
    pub kind: ReplyKind,
    /// Largest packet that fits, in bytes; of [`ReplyKind::TooBig`] only.
    pub mtu: u16,
}

/// Occasions for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// None.
    None,
    /// An echo request to an address that answers.
    Echo,
    /// The packet does not fit the way to its backend.
    TooBig,
    /// The packet's hop limit ends here.
    HopLimit,
    /// The service has no backend.
    Refusal,
    /// The backend of the packet's flow is gone, and its flows with it.
    FlowOver,
}

impl Reply {
    /// Nothing.
    pub const NONE: Self = Self { kind: ReplyKind::None, mtu: 0 };
    /// See [`ReplyKind::Echo`].
    pub const ECHO: Self = Self { kind: ReplyKind::Echo, mtu: 0 };
    /// See [`ReplyKind::HopLimit`].
    pub const HOP_LIMIT: Self = Self { kind: ReplyKind::HopLimit, mtu: 0 };
    /// See [`ReplyKind::Refusal`].
    pub const REFUSAL: Self = Self { kind: ReplyKind::Refusal, mtu: 0 };
    /// See [`ReplyKind::FlowOver`].
    pub const FLOW_OVER: Self = Self { kind: ReplyKind::FlowOver, mtu: 0 };

    /// See [`ReplyKind::TooBig`].
    #[inline(always)]
    #[must_use]
    pub const fn too_big(mtu: u16) -> Self {
        Self { kind: ReplyKind::TooBig, mtu }
    }
}

/// Hop limit of answers.
const HOP_LIMIT: u8 = 64;
/// Shortest frame of Ethernet, without its check sequence.
const SHORTEST_FRAME: usize = 60;

/// Sends a request back as its reply.
#[inline(always)]
pub(crate) fn echo<F: Frame, T: Tables>(
    work: &Work,
    frame: &mut F,
    tables: &T,
    settings: &Settings,
) -> Verdict {
    echo::answer(&Occasion { work, tables, settings }, frame)
}

/// Tells a packet's sender by ICMP what became of it.
#[inline(always)]
pub(crate) fn tell<F: Frame, T: Tables>(
    work: &Work,
    frame: &mut F,
    tables: &T,
    settings: &Settings,
) -> Verdict {
    let ipv6 = work.seen.packet.ipv6;
    let (untold, told) = match work.reply.kind {
        ReplyKind::None | ReplyKind::Echo => return Verdict::NotTransport,
        ReplyKind::TooBig => (Verdict::TooBig, Verdict::TooBigTold),
        ReplyKind::HopLimit => (Verdict::HopLimit, Verdict::HopLimitTold),
        ReplyKind::Refusal if work.outline.protocol != UDP => return Verdict::NoBackend,
        ReplyKind::Refusal => (Verdict::NoBackend, Verdict::Refused),
        ReplyKind::FlowOver if work.outline.protocol != UDP => return Verdict::FlowOver,
        ReplyKind::FlowOver => (Verdict::FlowOver, Verdict::FlowOverTold),
    };
    let message = match work.reply.kind {
        ReplyKind::TooBig => Message::too_big(work, frame),
        ReplyKind::HopLimit => Some(Message::hop_limit(ipv6)),
        _ => Some(Message::port_unreachable(ipv6)),
    };
    let Some(message) = message else { return untold };
    let occasion = Occasion { work, tables, settings };
    error::answer(&occasion, frame, message, untold, told)
}

/// Refuses a TCP segment.
#[inline(always)]
pub(crate) fn reset<F: Frame, T: Tables>(
    work: &Work,
    frame: &mut F,
    tables: &T,
    settings: &Settings,
) -> Verdict {
    reset::answer(&Occasion { work, tables, settings }, frame)
}

/// A packet that may deserve an answer, and the tables beside it.
struct Occasion<'a, T> {
    work: &'a Work,
    tables: &'a T,
    settings: &'a Settings,
}

impl<T: Tables> Occasion<'_, T> {
    /// Whom an answer comes from and goes to; `None` for packets that must not be answered: any
    /// but the first fragment, ICMP errors, and what was not sent by one host to this one (RFC
    /// 1122 section 3.2.2, RFC 4443 section 2.4).
    #[inline(always)]
    fn ends<F: Frame>(&self, frame: &F) -> Option<Ends> {
        match self.work.seen.kind {
            Kind::LaterFragment(_) | Kind::Error { .. } => None,
            Kind::Whole | Kind::FirstFragment(_) | Kind::Echo | Kind::EchoReply => {
                Ends::read(frame, &self.work.seen.packet)
            }
        }
    }

    /// What anybody can ask for, pings and refusals, takes half of the budget at most: who sends
    /// too large packets must be told, or his connection stalls.
    #[inline(always)]
    fn is_within_budget(&self) -> bool {
        let all = self.settings.replies_per_tick;
        let allowance = match self.work.reply.kind {
            ReplyKind::TooBig | ReplyKind::HopLimit => all,
            ReplyKind::None | ReplyKind::Echo | ReplyKind::Refusal | ReplyKind::FlowOver => all / 2,
        };
        let budget = self.tables.reply_budget();
        budget.is_some_and(|budget| budget.take(self.tables.now(), allowance))
    }
}

#[cfg(test)]
mod tests;
