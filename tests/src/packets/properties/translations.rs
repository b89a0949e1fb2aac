//! A packet with other addresses, ports and hop limit, but otherwise itself.

use super::{
    headers::Headers,
    sums::{Checksum, ICMP, ICMPV6, Remainder, TCP, UDP},
};

/// What may differ between a packet that came and the same packet sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The hop limit alone.
    HopLimit,
    /// The hop limit, addresses, ports, and the same inside of what ICMP quotes.
    Translation,
}

/// The packet is the same but for what the scope names; every checksum is as right as it was.
pub(super) fn check(input: &Headers<'_>, output: &Headers<'_>, scope: Scope) -> Result<(), String> {
    let expect = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    let lengths = |headers: &Headers<'_>| {
        (headers.packet().len(), headers.transport - headers.ip, headers.end - headers.ip)
    };
    expect(are_tags_right(input, output), "the tags or the type have changed")?;
    expect(lengths(input) == lengths(output), "lengths have changed")?;
    let [before, after] = [input, output].map(|headers| unchangeable(headers, scope));
    expect(before == after, &format!("the packet has changed: {scope:?} allows less"))?;
    if let [Some(before), Some(after)] = [input, output].map(Headers::whole_ipv4_header) {
        let [before, after] = [before, after].map(|header| Remainder::of(&[header]));
        expect(before == after, "the IPv4 checksum was right and is not, or the reverse")?;
    }
    let [before, after] = [input, output].map(Checksum::of);
    let what = format!("the transport checksum was {before:?} and is {after:?}");
    expect(before == after, &what)
}

/// Whether tags and type are those that came, or the tags are that of one VLAN, with the priority of the
/// outer one that came.
fn are_tags_right(input: &Headers<'_>, output: &Headers<'_>) -> bool {
    let (came, leaves) = (input.link_types(), output.link_types());
    let (tags, ether_type) = came.split_at(came.len() - 2);
    let priority = tags.get(2).map_or(0, |control| control & 0xf0);
    let is_of_vlan = matches!(leaves, [0x81, 0, control, _, rest @ ..]
        if control & 0xf0 == priority && rest == ether_type);
    came == leaves || is_of_vlan
}

/// The packet with zeros in the place of all that the scope lets change.
fn unchangeable(headers: &Headers<'_>, scope: Scope) -> Vec<u8> {
    let mut bytes = headers.packet().to_vec();
    let (hop_limit, checksum) = if headers.ipv6 { (7, None) } else { (8, Some(10)) };
    bytes[hop_limit] = 0;
    if let Some(checksum) = checksum {
        bytes[checksum..checksum + 2].fill(0);
    }
    if scope == Scope::HopLimit {
        return bytes;
    }
    for address in headers.addresses() {
        bytes[address].fill(0);
    }
    let transport = headers.transport - headers.ip;
    let ranges: &[_] = match headers.protocol {
        _ if headers.fragment_offset != 0 => &[],
        TCP => &[0..4, 16..18],
        UDP => &[0..4, 6..8],
        // Identifier and checksum, or what an error quotes: headers that are translated as well.
        ICMP | ICMPV6 => &[2..6, 8..usize::MAX],
        _ => &[],
    };
    for range in ranges {
        let end = range.end.saturating_add(transport).min(bytes.len());
        let start = (transport + range.start).min(end);
        bytes[start..end].fill(0);
    }
    bytes
}

/// The packet is the same but for its congestion mark (RFC 6040); the IPv4 header's checksum is as
/// right as it was.
pub(super) fn check_congestion_mark(
    input: &Headers<'_>,
    output: &Headers<'_>,
) -> Result<(), String> {
    let expect = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    let [before, after] = [input, output].map(|headers| {
        let mut bytes = headers.packet().to_vec();
        bytes[1] &= if headers.ipv6 { 0xcf } else { 0xfc };
        if !headers.ipv6 {
            bytes[10..12].fill(0);
        }
        bytes
    });
    expect(before == after, "more than the congestion mark has changed")?;
    if let [Some(before), Some(after)] = [input, output].map(Headers::whole_ipv4_header) {
        let [before, after] = [before, after].map(|header| Remainder::of(&[header]));
        expect(before == after, "the IPv4 checksum was right and is not, or the reverse")?;
    }
    Ok(())
}
