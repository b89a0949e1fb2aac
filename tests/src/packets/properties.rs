//! What holds for every frame, whatever the tables say: checked without the packet core.

use etherparse::{Ipv4Header, Ipv6Header};
use lb_common::Verdict;

use super::{
    outcome::{Outcome, XdpAction},
    shape::ETHERNET,
};

/// A frame that is not sent on keeps its bytes. One that is sent on keeps its packet, and an outer
/// header before it is valid: lengths, protocol, and the checksum of IPv4.
pub fn check(input: &[u8], outcome: &Outcome<Verdict>) -> Result<(), String> {
    let bytes = &outcome.bytes;
    if matches!(outcome.action, XdpAction::Pass | XdpAction::Drop) {
        return (bytes == input)
            .then_some(())
            .ok_or_else(|| "a frame that was not sent has changed".to_owned());
    }
    let packet = &input[ETHERNET..];
    if !bytes.ends_with(packet) {
        return Err("the packet has changed".to_owned());
    }
    let outer = &bytes[ETHERNET..bytes.len() - packet.len()];
    if outer.is_empty() {
        return (bytes[12..ETHERNET] == input[12..ETHERNET])
            .then_some(())
            .ok_or_else(|| "the type of the frame has changed".to_owned());
    }
    let (length, protocol) = if packet[0] >> 4 == 4 {
        (u16::from_be_bytes([packet[2], packet[3]]), 4)
    } else {
        (u16::from_be_bytes([packet[4], packet[5]]) + 40, 41)
    };
    match outer.len() {
        Ipv4Header::MIN_LEN => {
            let (header, _) = Ipv4Header::from_slice(outer).map_err(|error| error.to_string())?;
            let is_valid = bytes[12..ETHERNET] == [8, 0]
                && header.header_checksum == header.calc_header_checksum()
                && header.total_len == length + 20
                && header.protocol.0 == protocol;
            is_valid.then_some(()).ok_or_else(|| format!("outer header {header:?}"))
        }
        Ipv6Header::LEN => {
            let (header, _) = Ipv6Header::from_slice(outer).map_err(|error| error.to_string())?;
            let is_valid = bytes[12..ETHERNET] == [0x86, 0xdd]
                && header.payload_length == length
                && header.next_header.0 == protocol;
            is_valid.then_some(()).ok_or_else(|| format!("outer header {header:?}"))
        }
        other => Err(format!("an outer header of {other} bytes")),
    }
}
