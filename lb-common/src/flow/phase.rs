//! How far a flow's life has come, as far as the client's packets tell.

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// How far a flow's life has come.
///
/// A phase only tells for how long a silent flow keeps its place in the cache. FIN and RST shorten
/// that; they never make a flow forgotten, since anybody can send them (RFC 5961 section 1).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP's SYN, or one datagram, and nothing since.
    Opening = 0,
    /// It goes on.
    Open = 1,
    /// The client has sent FIN.
    Closing = 2,
    /// RST, or one packet whose flow nobody saw begin, and nothing since: anybody may have sent it.
    Doubtful = 3,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Open, Self::Closing, Self::Doubtful];

    /// The phase whose number is in the lowest two bits.
    #[inline(always)]
    pub(super) const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Opening,
            1 => Self::Open,
            2 => Self::Closing,
            _ => Self::Doubtful,
        }
    }

    /// The first phase of a flow whose first packet has these flags of TCP; 0 is UDP's.
    #[inline(always)]
    #[must_use]
    pub const fn first(flags: u8) -> Self {
        match flags & (FIN | SYN | RST) {
            0 if flags != 0 => Self::Doubtful,
            0 | SYN => Self::Opening,
            _ => Self::Open.after(flags),
        }
    }

    /// The phase after one more packet with these flags of TCP; 0 is UDP's.
    ///
    /// Whoever resets a connection and goes on nevertheless did not reset it: somebody else did.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, flags: u8) -> Self {
        if flags & RST != 0 {
            Self::Doubtful
        } else if flags & FIN != 0 || matches!(self, Self::Closing) {
            Self::Closing
        } else {
            Self::Open
        }
    }

    /// Whether the flow is on its way out.
    #[inline(always)]
    #[must_use]
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Closing | Self::Doubtful)
    }

    /// Ticks, of about a second, for which a silent flow keeps its place: 10 s before the client has
    /// answered (Linux sends a SYN again after 1, 3 and 7 s), four minutes once it has, a minute after
    /// FIN and 10 s after RST.
    #[inline(always)]
    #[must_use]
    pub const fn kept(self) -> u32 {
        /// A number of 16 bits for each phase: a look-up without branches.
        const KEPT: u64 = 10 | 256 << 16 | 60 << 32 | 10 << 48;

        (KEPT >> (self as u32 * 16)) as u16 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: u8 = 0x10;

    #[test]
    fn a_connection_opens_goes_on_and_closes() {
        let mut phase = Phase::first(SYN);
        assert_eq!(phase, Phase::Opening);
        for (flags, expected) in [
            (ACK, Phase::Open),
            (ACK, Phase::Open),
            (FIN | ACK, Phase::Closing),
            (ACK, Phase::Closing),
            (RST, Phase::Doubtful),
        ] {
            phase = phase.after(flags);
            assert_eq!(phase, expected);
        }
    }

    #[test]
    fn a_reset_counts_until_its_sender_goes_on() {
        assert_eq!(Phase::Open.after(RST | ACK).after(ACK), Phase::Open);
        assert_eq!(Phase::first(RST), Phase::Doubtful);
    }

    #[test]
    fn one_packet_opens_and_the_next_goes_on() {
        assert_eq!([0, SYN].map(Phase::first), [Phase::Opening; 2]);
        assert_eq!(Phase::first(ACK), Phase::Doubtful);
        for phase in [Phase::Opening, Phase::Doubtful] {
            assert_eq!([0, ACK].map(|flags| phase.after(flags)), [Phase::Open; 2]);
        }
        assert_eq!(Phase::Open.after(0), Phase::Open);
    }

    #[test]
    fn what_ends_is_kept_for_a_shorter_time() {
        let kept = Phase::ALL.map(Phase::kept);
        assert!(kept[1] > kept[2] && kept[2] > kept[3] && kept[1] > kept[0]);
        for phase in Phase::ALL {
            assert_eq!(Phase::from_bits(phase as u64), phase);
        }
    }
}
