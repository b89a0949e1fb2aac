//! TCP resets, as a host sends them for a port where nobody listens: RFC 9293 section 3.10.7.1.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{Ends, Occasion, ReplyKind, error::cut};
use crate::{
    checksum, forward,
    frame::Frame,
    packet::{Kind, Packet},
    service::TCP,
    tables::Tables,
    verdict::Verdict,
};

/// Length of a TCP header without options.
const TCP_LEN: usize = 20;

/// Flags of TCP.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What a reset says.
struct Reset {
    /// Source and destination port, `source << 16 | destination`.
    ports: u32,
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
}

/// Refuses a segment, or says by a verdict why not.
#[inline(always)]
pub(super) fn answer<F: Frame, T: Tables>(occasion: &Occasion<'_, T>, frame: &mut F) -> Verdict {
    let packet = &occasion.work.seen.packet;
    let (untold, told) = match occasion.work.reply.kind {
        ReplyKind::FlowOver => (Verdict::FlowOver, Verdict::FlowOverTold),
        _ => (Verdict::NoBackend, Verdict::Refused),
    };
    // How long a segment is that comes in fragments, the first does not tell.
    if !matches!(occasion.work.seen.kind, Kind::Whole) {
        return untold;
    }
    let Some(ends) = occasion.ends(frame) else { return untold };
    let Some(reset) = Reset::of(frame, packet) else { return untold };
    if !occasion.is_within_budget() {
        return Verdict::ReplyLimited;
    }
    match reset.write(frame, packet, &ends) {
        Some(()) => told,
        // A whole segment is at least as long as a reset.
        None => untold,
    }
}

impl Reset {
    /// The reset for a segment; none for one that is a reset itself.
    #[inline(always)]
    fn of<F: Frame>(frame: &F, packet: &Packet) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, offset, flags, ..] =
            *frame.header::<[u8; TCP_LEN]>(packet.layout.transport())?;
        let ports = u32::from_be_bytes([a, b, c, d]).rotate_left(16);
        let sequence = u32::from_be_bytes([e, f, g, h]);
        if flags & RST != 0 {
            return None;
        }
        if flags & ACK != 0 {
            let sequence = u32::from_be_bytes([i, j, k, l]);
            return Some(Self { ports, sequence, acknowledgment: 0, flags: RST });
        }
        let headers = packet.layout.header() + u32::from(offset >> 4) * 4;
        let length = packet.length.wrapping_sub(headers)
            + u32::from(flags & SYN != 0)
            + u32::from(flags & FIN != 0);
        let acknowledgment = sequence.wrapping_add(length);
        Some(Self { ports, sequence: 0, acknowledgment, flags: RST | ACK })
    }

    /// Writes the reset over the segment.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, packet: &Packet, ends: &Ends) -> Option<()> {
        let network = packet.layout.network();
        let end = if packet.ipv6 {
            ends.write_ipv6(frame, network, 0, TCP_LEN as u32, TCP)?;
            self.write_header(frame, network + Ipv6Hdr::LEN, ends)?;
            network + Ipv6Hdr::LEN + TCP_LEN
        } else {
            ends.write_ipv4(frame, network, 0, (Ipv4Hdr::LEN + TCP_LEN) as u32, TCP)?;
            self.write_header(frame, network + Ipv4Hdr::LEN, ends)?;
            network + Ipv4Hdr::LEN + TCP_LEN
        };
        forward::rewrite_link(frame, ends.link())?;
        cut(frame, end);
        Some(())
    }

    #[inline(always)]
    fn write_header<F: Frame>(&self, frame: &mut F, offset: usize, ends: &Ends) -> Option<()> {
        let control = (TCP_LEN as u32 / 4) << 28 | u32::from(self.flags) << 16;
        let pseudo_header = ends.sum() + u32::from(TCP) + TCP_LEN as u32;
        let sum = pseudo_header
            + halves(self.ports)
            + halves(self.sequence)
            + halves(self.acknowledgment)
            + halves(control);
        let check = u32::from(!checksum::fold(sum)) << 16;
        let words = [self.ports, self.sequence, self.acknowledgment, control, check];
        let tcp = frame.header_mut::<[u8; TCP_LEN]>(offset)?;
        let (places, _) = tcp.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        Some(())
    }
}

/// The sum of both halves of a number.
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}
