//! Answers that the balancer gives itself.

use crate::{frame::Frame, settings::Settings, tables::Tables, uncommon::Work, verdict::Verdict};

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

    /// See [`ReplyKind::TooBig`].
    #[inline(always)]
    #[must_use]
    pub const fn too_big(mtu: u16) -> Self {
        Self { kind: ReplyKind::TooBig, mtu }
    }
}

/// Answers a packet, if it may be answered and the budget allows it.
#[inline(always)]
pub(crate) fn reply<F: Frame, T: Tables>(
    work: &Work,
    _frame: &mut F,
    _tables: &T,
    _settings: &Settings,
) -> Verdict {
    match work.reply.kind {
        ReplyKind::None | ReplyKind::Echo => Verdict::NotTransport,
        ReplyKind::TooBig => Verdict::TooBig,
        ReplyKind::HopLimit => Verdict::HopLimit,
        ReplyKind::Refusal => Verdict::NoBackend,
    }
}
