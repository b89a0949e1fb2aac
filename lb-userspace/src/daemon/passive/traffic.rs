//! What packets of a second come to: attempts to connect, and those that failed.

use std::time::Duration;

use lb_common::{Counters, Forward};

use crate::{datapath::signals::Signals, model::Protocol, outlier::Tally};

/// What is counted of a backend since it got its index, and what follows from the last look.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) counters: Counters,
    pub(super) signals: Signals,
    /// Attempts of the last second that nothing has followed yet.
    pub(super) unanswered: u64,
}

/// What packets of a period come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    packets: u64,
    /// SYN, those that came again included.
    syns: u64,
    repeats: u64,
    resets: u64,
    unreachables: u64,
    handshakes: u64,
    handshake_micros: u64,
    /// Whether an ICMP error came about a tunnel to the backend.
    has_error: bool,
    /// Attempts of the period before that nothing had followed.
    unanswered: u64,
}

impl Traffic {
    pub(super) fn between(before: &Seen, now: &Seen, has_error: bool) -> Self {
        // Another backend may have got the index, whose counters began anew.
        let grown = |before: u64, now: u64| if now < before { now } else { now - before };
        let (a, b) = (&before.counters, &now.counters);
        let (c, d) = (&before.signals, &now.signals);
        Self {
            packets: grown(a.packets, b.packets),
            syns: grown(a.new_flows, b.new_flows),
            repeats: grown(c.repeats, d.repeats),
            resets: grown(c.resets, d.resets),
            unreachables: grown(c.unreachables, d.unreachables),
            handshakes: grown(c.handshakes, d.handshakes),
            handshake_micros: grown(c.handshake_micros, d.handshake_micros),
            has_error,
            unanswered: before.unanswered,
        }
    }

    /// How long handshakes took on the average.
    pub(super) fn handshake(&self) -> Option<Duration> {
        let count = u32::try_from(self.handshakes).unwrap_or(u32::MAX);
        Duration::from_micros(self.handshake_micros).checked_div(count)
    }

    /// Attempts, those that failed, and how many are not judged before the next period.
    ///
    /// Where answers pass here, a RST, an ICMP error and a SYN that comes again each tell of one that
    /// failed. Where they do not, see [`Self::half_seen`]. An ICMP error is no attempt: anybody can
    /// send one.
    pub(super) fn tally(&self, forward: Forward, protocol: Protocol) -> (Tally, u64) {
        match (forward, protocol) {
            (Forward::Nat, protocol) => {
                let attempts = self.attempts(protocol);
                let failures = self.resets + self.repeats + self.unreachables.min(attempts);
                (tally(attempts.max(failures), failures), 0)
            }
            (_, Protocol::Tcp) => self.half_seen(),
            (_, Protocol::Udp) => {
                (tally(self.packets, u64::from(self.has_error).min(self.packets)), 0)
            }
        }
    }

    fn attempts(&self, protocol: Protocol) -> u64 {
        match protocol {
            Protocol::Tcp => self.syns.saturating_sub(self.repeats),
            Protocol::Udp => self.packets,
        }
    }

    /// The same where only the client's half is seen: one that was answered sends one packet more at
    /// least. As many attempts failed as such packets are missing by the end of the next period; the
    /// oldest attempts get them first. A SYN that comes again tells of a failure too, but of one that
    /// began lately only: how often a client tries again is its own affair.
    ///
    /// That misses failures beside busy connections, and takes a flood of SYN for failures, but of all
    /// backends alike.
    fn half_seen(&self) -> (Tally, u64) {
        let begun = self.attempts(Protocol::Tcp);
        let lately = self.unanswered + begun;
        let answers = self.packets.saturating_sub(self.syns);
        let late = self.unanswered.saturating_sub(answers);
        let waiting = begun.saturating_sub(answers.saturating_sub(self.unanswered));
        let told = self.repeats.max(u64::from(self.has_error)).min(lately);
        let failures = late.max(told);
        // What has failed by another sign need not be waited for.
        let waiting = waiting.saturating_sub(failures - late);
        (tally(lately - waiting, failures), waiting)
    }
}

fn tally(attempts: u64, failures: u64) -> Tally {
    let short = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Tally { attempts: short(attempts), failures: short(failures) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts and failures of TCP, and what waits.
    fn judged(forward: Forward, traffic: Traffic) -> (u32, u32, u64) {
        let (Tally { attempts, failures }, waiting) = traffic.tally(forward, Protocol::Tcp);
        (attempts, failures, waiting)
    }

    /// The same of seconds that follow each other, as packets, SYN and repeats of each.
    fn course(seconds: &[(u64, u64, u64)]) -> Vec<(u32, u32)> {
        let mut unanswered = 0;
        let judge = |&(packets, syns, repeats): &(u64, u64, u64)| {
            let traffic = Traffic { packets, syns, repeats, unanswered, ..Traffic::default() };
            let (attempts, failures, waiting) = judged(Forward::L2, traffic);
            unanswered = waiting;
            (attempts, failures)
        };
        seconds.iter().map(judge).collect()
    }

    #[test]
    fn translation_sees_every_answer() {
        let traffic =
            Traffic { packets: 40, syns: 12, repeats: 2, resets: 3, ..Traffic::default() };
        assert_eq!(judged(Forward::Nat, traffic), (10, 5, 0));
    }

    #[test]
    fn without_answers_a_client_that_goes_on_was_answered() {
        assert_eq!(course(&[(9, 9, 0), (0, 0, 0), (0, 0, 0)]), [(0, 0), (9, 9), (0, 0)]);
        assert_eq!(course(&[(15, 9, 0), (0, 0, 0)]), [(6, 0), (3, 3)]);
        assert_eq!(course(&[(900, 9, 0), (0, 0, 0)]), [(9, 0), (0, 0)]);
    }

    #[test]
    fn a_connection_over_the_turn_of_the_second_did_not_fail() {
        assert_eq!(course(&[(1, 1, 0), (3, 0, 0), (0, 0, 0)]), [(0, 0), (1, 0), (0, 0)]);
        // One each second, whose only answer comes in the next one.
        assert_eq!(course(&[(1, 1, 0), (2, 1, 0), (2, 1, 0)]), [(0, 0), (1, 0), (1, 0)]);
    }

    #[test]
    fn a_client_that_tries_again_and_again_failed_once() {
        // Again after 1, 3 and 7 seconds.
        let seconds = [1, 1, 0, 1, 0, 0, 0, 1, 0].map(|packets| (packets, packets, packets));
        let seconds = [&[(1, 1, 0)], &seconds[1..]].concat();
        let failed: u32 = course(&seconds).iter().map(|(_, failures)| failures).sum();
        assert_eq!(failed, 1, "{:?}", course(&seconds));
        // Beside a busy connection it shows by its repeats alone.
        assert_eq!(course(&[(100, 1, 0), (101, 2, 1)]), [(1, 0), (1, 1)]);
    }

    #[test]
    fn nothing_is_judged_twice() {
        // Two begin, one of them comes again in the same second.
        assert_eq!(course(&[(3, 3, 1), (0, 0, 0)]), [(1, 1), (1, 1)]);
    }

    #[test]
    fn an_error_is_no_attempt() {
        let error = Traffic { has_error: true, unreachables: 5, ..Traffic::default() };
        for forward in [Forward::L2, Forward::Ipip, Forward::Gue, Forward::Nat] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let (told, _) = error.tally(forward, protocol);
                assert_eq!(told, Tally::default(), "{forward:?} {protocol:?}");
            }
        }
        let busy = Traffic { packets: 900, syns: 9, ..error };
        assert_eq!(judged(Forward::Gue, busy), (9, 1, 0));
        assert_eq!(judged(Forward::Nat, busy), (9, 5, 0));
        let (told, _) = busy.tally(Forward::Ipip, Protocol::Udp);
        assert_eq!(told, Tally { attempts: 900, failures: 1 });
        let late = Traffic { unanswered: 2, packets: 1, ..error };
        assert_eq!(judged(Forward::Ipip, late), (2, 1, 0), "it may be of one that waits");
    }

    #[test]
    fn counters_that_begin_anew_are_no_flood() {
        let counters = |new_flows| Counters { new_flows, ..Counters::default() };
        let seen = |flows| Seen { counters: counters(flows), ..Seen::default() };
        assert_eq!(Traffic::between(&seen(100), &seen(103), false).syns, 3);
        assert_eq!(Traffic::between(&seen(100), &seen(2), false).syns, 2);
    }
}
