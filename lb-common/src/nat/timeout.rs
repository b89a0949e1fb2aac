//! How long a translated flow is kept while it is silent.

use super::state;
use crate::service::{TCP, UDP};

/// TCP before the backend has answered, and before the client has answered that. RFC 5382 REQ-5 wants
/// 240 s for connections that are only half open; shorter, since those are what floods are made of
/// (backends answer them), and a client that still wants one sends its SYN again before.
pub const TCP_UNANSWERED: u32 = 30;
/// TCP before the backend has sent anything but SYN, or once one side has closed: RFC 5382 REQ-5,
/// "transitory".
pub const TCP_TRANSITORY: u32 = 240;
/// TCP while it is open: 2 hours and 4 minutes, RFC 5382 REQ-5.
pub const TCP_ESTABLISHED: u32 = 7440;
/// TCP once both sides have closed: two maximum segment lifetimes (RFC 9293 section 3.4.2) as
/// Linux counts them (`TCP_TIMEWAIT_LEN`), twice.
pub const TCP_CLOSED: u32 = 120;
/// TCP after a reset, as long as Linux's connection tracking.
pub const TCP_RESET: u32 = 10;
/// UDP of one direction, as long as Linux's connection tracking: whoever is never answered loses
/// nothing by another port.
pub const UDP_UNANSWERED: u32 = 30;
/// UDP of both directions: longer than the two minutes of RFC 4787 REQ-5.
pub const UDP_ANSWERED: u32 = 180;
/// ICMP echo: RFC 5508 REQ-2.
pub const ECHO: u32 = 60;

/// The least of all.
pub const SHORTEST: u32 = TCP_RESET;

/// Seconds after the last packet in either direction for which a flow is kept. The states of both
/// directions are bits of [`state`].
#[inline(always)]
#[must_use]
pub const fn timeout(protocol: u8, request: u32, answer: u32) -> u32 {
    let (either, both) = (request | answer, request & answer);
    match protocol {
        TCP if either & state::RST != 0 => TCP_RESET,
        TCP if both & state::FIN != 0 => TCP_CLOSED,
        TCP if answer & state::SEEN == 0 || request & state::CONNECTED == 0 => TCP_UNANSWERED,
        TCP if either & state::FIN != 0 || both & state::CONNECTED == 0 => TCP_TRANSITORY,
        TCP => TCP_ESTABLISHED,
        UDP if answer & state::SEEN == 0 => UDP_UNANSWERED,
        UDP => UDP_ANSWERED,
        _ => ECHO,
    }
}

/// Whether a TCP connection is over, so that a SYN begins another one.
#[inline(always)]
#[must_use]
pub const fn is_closed(request: u32, answer: u32) -> bool {
    (request | answer) & state::RST != 0 || request & answer & state::FIN != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ICMP;

    #[test]
    fn a_tcp_connection_is_kept_as_its_life_demands() {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        const FIN: u8 = 0x01;
        const RST: u8 = 0x04;
        let mut states = [0, 0];
        let story = [
            (0, SYN, TCP_UNANSWERED),
            (1, SYN | ACK, TCP_UNANSWERED),
            (0, ACK, TCP_TRANSITORY),
            (1, ACK, TCP_ESTABLISHED),
            (0, FIN | ACK, TCP_TRANSITORY),
            (1, ACK, TCP_TRANSITORY),
            (1, FIN | ACK, TCP_CLOSED),
            (0, ACK, TCP_CLOSED),
            (0, RST, TCP_RESET),
        ];
        for (step, (direction, flags, expected)) in story.into_iter().enumerate() {
            states[direction] |= state::of_flags(flags);
            assert_eq!(timeout(TCP, states[0], states[1]), expected, "step {step}");
            assert_eq!(is_closed(states[0], states[1]), step >= 6, "step {step}");
        }
    }

    #[test]
    fn other_flows_are_kept_by_whether_they_were_answered() {
        let seen = state::SEEN;
        assert_eq!(timeout(UDP, seen, 0), UDP_UNANSWERED);
        assert_eq!(timeout(UDP, seen, seen), UDP_ANSWERED);
        assert_eq!(timeout(ICMP, seen, 0), ECHO);
        assert_eq!(timeout(ICMP, seen, seen), ECHO);
    }
}
