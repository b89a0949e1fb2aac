//! What holds for every frame, whatever the tables say: checked without the packet core.
//!
//! * A frame that is not sent on keeps its bytes.
//! * One that is sent on has right lengths and checksums if the one that came had, and wrong ones
//!   where that had wrong ones: a load balancer neither damages a packet nor hides the damage.
//! * What the balancer puts around a packet, or writes as a reply, is right in any case.

mod headers;
mod replies;
mod second_chance;
mod sums;
mod translations;
mod tunnels;

#[cfg(test)]
mod tests;

use lb_common::{DecapVerdict, Verdict};

use self::{headers::Headers, translations::Scope};
use super::outcome::{Outcome, XdpAction};

/// Reasons of verdicts whose frame the balancer has written itself. They are named by their words
/// so that these checks know nothing else of the core.
const REPLIES: [&str; 5] =
    ["echo_answered", "too_big_told", "hop_limit_told", "refused", "flow_over_told"];
/// The reason of frames that are passed although they may have been translated: their backend is
/// on the balancer's own machine.
const DELIVERED: &str = "delivered";

/// Checks what the balancer made of a frame.
///
/// # Errors
/// What does not hold, as a sentence.
pub fn check(input: &[u8], outcome: &Outcome<Verdict>) -> Result<(), String> {
    let bytes = &outcome.bytes;
    let is_sent = matches!(outcome.action, XdpAction::Transmit | XdpAction::Redirect);
    if bytes == input && !is_sent {
        return Ok(());
    }
    let reason = outcome.verdict.reason();
    if !is_sent && reason != DELIVERED {
        return Err("a frame that was not sent has changed".to_owned());
    }
    let before = Headers::of(input).ok_or("something other than an IP packet was sent on")?;
    let after = Headers::of(bytes).ok_or("what was sent is no IP packet")?;
    if REPLIES.contains(&reason) {
        return replies::check(&before, &after);
    }
    match tunnels::open(&before, &after)? {
        Some(inner) => {
            let inner = Headers::of(&inner).ok_or("what is in the tunnel is no IP packet")?;
            translations::check(&before, &inner, Scope::HopLimit)
        }
        None => translations::check(&before, &after, Scope::Translation),
    }
}

/// Checks what the tunnel's far end made of a frame: only what it opened has changed, into the
/// packet that was inside, of which nothing but the congestion mark differs, and what it gave on,
/// which goes to the backend that was named.
///
/// # Errors
/// What does not hold, as a sentence.
pub fn check_far_end(input: &[u8], outcome: &Outcome<DecapVerdict>) -> Result<(), String> {
    let bytes = &outcome.bytes;
    if outcome.verdict == DecapVerdict::SecondChance {
        return second_chance::check(input, bytes);
    }
    if outcome.verdict != DecapVerdict::Opened {
        let same = bytes == input;
        return same.then_some(()).ok_or("a frame that was not opened has changed".to_owned());
    }
    let outer = Headers::of(input).ok_or("something other than an IP packet was opened")?;
    let inner = Headers::of(bytes).ok_or("what was in the tunnel is no IP packet")?;
    let start = input.len() - inner.packet().len();
    if start < outer.transport {
        return Err("more than the outer header is gone".to_owned());
    }
    let ether_type = if inner.ipv6 { [0x86, 0xdd] } else { [8, 0] };
    let tags = &outer.link_types()[..outer.link_types().len() - 2];
    let before = [&input[..12], tags, &ether_type, &input[start..]].concat();
    let before = Headers::of(&before).ok_or("the packet in the tunnel was none")?;
    translations::check_congestion_mark(&before, &inner)
}
