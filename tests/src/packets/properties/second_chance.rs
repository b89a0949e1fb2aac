//! Tunnels that a far end gives on to another backend.

use super::{
    headers::Headers,
    sums::{Checksum, Remainder},
};

/// Checks that the frame goes to the backend that its mark named, that the mark is spent, that
/// checksums are as right as they were, and that nothing else has changed.
///
/// # Errors
/// What does not hold, as a sentence.
pub(super) fn check(input: &[u8], output: &[u8]) -> Result<(), String> {
    let before = Headers::of(input).ok_or("something other than an IP packet was given on")?;
    let after = Headers::of(output).ok_or("what was given on is no IP packet")?;
    let expect = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    // Behind UDP's header and the base header of GUE.
    let mark = before.transport + 8 + 4;
    let destination = before.addresses()[1].clone();
    let destination = before.ip + destination.start..before.ip + destination.end;
    let named = input.get(mark + 4..mark + 4 + destination.len()).ok_or("there is no mark")?;
    expect(output.get(destination.clone()) == Some(named), "it goes elsewhere")?;
    let mut expected = input.to_vec();
    expected[destination].copy_from_slice(named);
    expected[mark + 2] = 2;
    let sums = [before.transport + 6, before.ip + 10];
    for at in &sums[..if before.ipv6 { 1 } else { 2 }] {
        expected[*at..*at + 2].copy_from_slice(&output[*at..*at + 2]);
    }
    expect(input[mark + 2] == 1, "the mark was spent")?;
    expect(expected == output, "more than the destination has changed")?;
    expect(Checksum::of(&before) == Checksum::of(&after), "UDP's checksum is another")?;
    let remainder =
        |headers: &Headers<'_>| headers.whole_ipv4_header().map(|it| Remainder::of(&[it]));
    expect(remainder(&before) == remainder(&after), "IPv4's checksum is another")
}
