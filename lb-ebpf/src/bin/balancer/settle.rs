//! The end of every packet's way: one counter and one XDP action.

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use lb_common::{Action, Verdict};

use crate::maps;

/// A verdict's number and its XDP action.
#[derive(Clone, Copy)]
pub(crate) struct Settled {
    verdict: u32,
    action: u32,
}

impl Settled {
    /// What a verdict comes to.
    #[inline(always)]
    pub(crate) const fn of(verdict: Verdict) -> Self {
        let action = match verdict.action() {
            Action::Pass => xdp_action::XDP_PASS,
            Action::Transmit => xdp_action::XDP_TX,
            Action::Redirect => xdp_action::XDP_REDIRECT,
            Action::Drop => xdp_action::XDP_DROP,
        };
        Self { verdict: verdict as u32, action }
    }

    /// Both as one number below 2^16, which a function can return.
    #[inline(always)]
    pub(crate) const fn number(self) -> u32 {
        self.verdict | self.action << 8
    }

    /// The reverse of [`Settled::number`].
    #[inline(always)]
    pub(crate) const fn from_number(number: u32) -> Self {
        Self { verdict: number & 0xff, action: number >> 8 & 0xff }
    }
}

/// Counts the verdict and returns the action.
#[inline(always)]
pub(crate) fn count(context: &XdpContext, settled: Settled) -> u32 {
    lb_ebpf::bump(maps::VERDICTS.get_ptr_mut(settled.verdict));
    #[cfg(feature = "log")]
    if settled.action == xdp_action::XDP_DROP {
        aya_log_ebpf::debug!(context, "dropped a packet, verdict {}", settled.verdict);
    }
    let _ = context;
    settled.action
}
