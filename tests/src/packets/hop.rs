//! What a packet looks like one hop further on.

use super::shape::ip_offset;

/// The frame with one taken off the packet's TTL or hop limit. The checksum of an IPv4 header is
/// written anew, from all of the header: for headers in which it was right.
///
/// # Panics
/// If the frame holds no IP packet, or one at the end of its way.
#[must_use]
pub fn hopped(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let ip = ip_offset(&frame);
    if frame[ip] >> 4 == 6 {
        frame[ip + 7] -= 1;
        return frame;
    }
    let end = ip + usize::from(frame[ip] & 0x0f) * 4;
    frame[ip + 8] -= 1;
    frame[ip + 10..ip + 12].fill(0);
    let words = frame[ip..end].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    // RFC 1071; a header has thirty words at most, so one carry is left at most.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}
