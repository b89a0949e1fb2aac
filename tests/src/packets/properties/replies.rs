//! Frames that the balancer writes itself: echo replies, ICMP errors, resets.

use super::{
    headers::Headers,
    sums::{Checksum, ICMP, ICMPV6, Remainder, TCP, has_sound_transport},
};

/// TCP's RST flag, in the fourteenth byte of its header.
const RST: u8 = 4;

/// A reply is right in itself, whatever it replies to, goes back to where the packet came from,
/// and is never a reply to what must not be replied to (RFC 1122 section 3.2.2, RFC 4443 section
/// 2.4, RFC 9293 section 3.5.2).
pub(super) fn check(input: &Headers<'_>, output: &Headers<'_>) -> Result<(), String> {
    let expect = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    expect(
        input.link_types() == output.link_types(),
        "a reply with other tags or of another type",
    )?;
    expect(output.destination() == input.source(), "a reply to somebody else")?;
    expect(output.payload().is_some(), "a reply that is longer than its frame")?;
    if let Some(header) = output.whole_ipv4_header() {
        expect(Remainder::of(&[header]) == Remainder::RIGHT, "a reply's IPv4 checksum is wrong")?;
    }
    expect(!output.is_fragment, "a reply in pieces")?;
    expect(has_sound_transport(output), "a reply whose lengths are wrong")?;
    // An echo is the request itself, with whatever befell it on its way.
    let due =
        if is_echo(output) { Checksum::of(input) } else { Checksum::Present(Remainder::RIGHT) };
    expect(Checksum::of(output) == due, "a reply's checksum is wrong")?;
    expect(!is_error(input), "a reply to an ICMP error")?;
    expect(input.fragment_offset == 0, "a reply to a fragment that is not the first")?;
    expect(!(is_reset(input) && is_reset(output)), "a reset for a reset")
}

fn is_echo(headers: &Headers<'_>) -> bool {
    let kind = headers.payload().and_then(|payload| payload.first().copied());
    matches!((headers.protocol, kind), (ICMP, Some(0)) | (ICMPV6, Some(129)))
}

fn is_error(headers: &Headers<'_>) -> bool {
    let kind = headers.payload().and_then(|payload| payload.first().copied());
    match (headers.protocol, kind) {
        (ICMP, Some(kind)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (ICMPV6, Some(kind)) => kind < 128,
        _ => false,
    }
}

fn is_reset(headers: &Headers<'_>) -> bool {
    let flags = headers.payload().and_then(|payload| payload.get(13).copied());
    headers.protocol == TCP && flags.is_some_and(|flags| flags & RST != 0)
}
