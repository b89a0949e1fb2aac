//! Outer headers: IP in IP, and UDP with or without GUE's own header.

use super::{
    headers::{Headers, word},
    sums::{Checksum, Remainder, UDP},
};

/// EtherTypes of what may be in a tunnel.
const IPV4: [u8; 2] = [8, 0];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The frame without its outer headers, as long as the frame that came in; `None` if `output` is
/// no tunnel around a packet of that length.
///
/// # Errors
/// What is wrong with an outer header.
pub(super) fn open(input: &Headers<'_>, output: &Headers<'_>) -> Result<Option<Vec<u8>>, String> {
    let Some(added) = output.packet().len().checked_sub(input.packet().len()) else {
        return Ok(None);
    };
    let ip = output.header().len();
    let inner_protocol = if input.ipv6 { 41 } else { 4 };
    // A mark that names another backend: a word, and its address.
    let mark = if output.ipv6 { 20 } else { 8 };
    let is_tunnel = match added.checked_sub(ip) {
        Some(0) => output.protocol == inner_protocol,
        // UDP alone, of which the inner version tells the protocol, or with GUE's four bytes, and
        // with a mark.
        Some(behind) => {
            (behind == 8 || behind == 12 || behind == 12 + mark) && output.protocol == UDP
        }
        None => false,
    };
    if !is_tunnel {
        return Ok(None);
    }
    let expect = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    expect(output.transport == output.ip + ip, "an outer header with options")?;
    expect(!output.is_fragment, "an outer header of a fragment")?;
    let inner_length = input.end - input.ip;
    expect(output.end == output.ip + added + inner_length, "the outer length is wrong")?;
    if let Some(header) = output.whole_ipv4_header() {
        expect(Remainder::of(&[header]) == Remainder::RIGHT, "the outer checksum is wrong")?;
    }
    if let Some(behind) = added.checked_sub(ip).filter(|behind| *behind > 0) {
        let payload = output.payload().ok_or("the outer packet is longer than its frame")?;
        let length = word(payload, 4).map(usize::from);
        expect(length == Some(payload.len()), "the outer UDP length is wrong")?;
        let checksum = Checksum::of(output);
        // Zero is allowed over IPv6 too: RFC 6935 section 5, RFC 6936 section 4. One that is
        // derived from the packet's own checksums is as right as those are.
        let is_right = matches!(checksum, Checksum::Absent | Checksum::Present(Remainder::RIGHT));
        expect(is_right || is_damaged(input), "the outer UDP checksum is wrong")?;
        if behind >= 12 {
            // Version 0, words of private data, the protocol and no flags: draft-ietf-intarea-gue.
            let words = (behind - 12) as u8 / 4;
            let gue = payload.get(8..12);
            expect(gue == Some(&[words, inner_protocol, 0, 0]), "GUE's header is wrong")?;
        }
        if behind > 12 {
            let family = if output.ipv6 { 6 } else { 4 };
            expect(payload.get(12..16) == Some(&[b'l', b'b', 1, family]), "the mark is wrong")?;
        }
    }
    let tags = &output.link_types()[..output.link_types().len() - 2];
    let ether_type = if input.ipv6 { IPV6 } else { IPV4 };
    let inner = &output.packet()[added..];
    Ok(Some([&[0; 12][..], tags, &ether_type, inner].concat()))
}

/// Whether one of the packet's own checksums is wrong. That of a fragment cannot be.
fn is_damaged(headers: &Headers<'_>) -> bool {
    let wrong = |header| Remainder::of(&[header]) != Remainder::RIGHT;
    let is_present =
        matches!(Checksum::of(headers), Checksum::Present(sum) if sum != Remainder::RIGHT);
    headers.whole_ipv4_header().is_some_and(wrong) || (!headers.is_fragment && is_present)
}
