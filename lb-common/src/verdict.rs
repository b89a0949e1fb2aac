//! What becomes of a packet, and why: one enum, one XDP action and one counter each.

/// What XDP is told to do with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the packet to the network stack, unchanged.
    Pass,
    /// Send it out of the interface it came in by.
    Transmit,
    /// Send it out of another interface, named through [`crate::Tables::redirect`].
    Redirect,
    /// Throw it away.
    Drop,
}

impl Action {
    /// The word in metrics and in the command line's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Transmit => "tx",
            Self::Redirect => "redirect",
            Self::Drop => "drop",
        }
    }
}

macro_rules! verdicts {
    ($(#[$outer:meta])* $vis:vis enum $name:ident {
        $( $(#[doc = $doc:literal])+ $variant:ident => $action:ident, $label:literal; )+
    }) => {
        $(#[$outer])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $name {
            /// Every verdict, in the order of its counter.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )+];
            /// Number of verdicts, which is the length of the counter map.
            pub const COUNT: usize = Self::ALL.len();

            /// What XDP does with such a packet.
            #[inline(always)]
            #[must_use]
            pub const fn action(self) -> Action {
                match self { $( Self::$variant => Action::$action, )+ }
            }

            /// The reason as metrics and the CLI write it.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $( Self::$variant => $label, )+ }
            }

            /// One sentence for people.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self { $( Self::$variant => concat!($($doc),+).trim_ascii(), )+ }
            }
        }
    };
}

verdicts! {
    /// What the balancer did with a packet.
    pub enum Verdict {
        /// Not an IPv4 or IPv6 packet.
        NotIp => Pass, "not_ip";
        /// IP, but neither TCP nor UDP, nor an ICMP message that concerns a service.
        NotTransport => Pass, "not_transport";
        /// A fragment to an address that has no service of its protocol.
        Fragment => Pass, "fragment";
        /// Its IPv6 extension headers are too many, or lead it on to another destination.
        ExtensionHeader => Pass, "extension_header";
        /// The frame ends before its ports.
        Truncated => Pass, "truncated";
        /// No service has this address, port and protocol.
        NotService => Pass, "not_service";
        /// The daemon has not filled the tables yet.
        NotReady => Pass, "not_ready";
        /// For a backend on this machine.
        Delivered => Pass, "delivered";
        /// Sent on by the interface it came in by: to a backend, or back to a client.
        Transmitted => Transmit, "transmitted";
        /// Sent on by another interface: to a backend, or back to a client.
        Redirected => Redirect, "redirected";
        /// An echo request to a service's address, answered.
        EchoAnswered => Transmit, "echo_answered";
        /// Too big for the way to the backend; its sender was told so.
        TooBigTold => Transmit, "too_big_told";
        /// At the end of its hop limit; its sender was told so.
        HopLimitTold => Transmit, "hop_limit_told";
        /// The service has no backend that takes traffic; the client was told so.
        Refused => Transmit, "refused";
        /// Of a flow whose backend is gone for good; the client was told so.
        FlowOverTold => Transmit, "flow_over_told";
        /// For a service, but its length fields contradict the frame or each other.
        Malformed => Drop, "malformed";
        /// For a service, and demands a route of its own by an IPv4 option.
        SourceRoute => Drop, "source_route";
        /// A fragment that does not hold, or would overwrite, the transport header.
        TinyFragment => Drop, "tiny_fragment";
        /// A fragment whose first has not been seen, to an address that has services.
        FragmentUnmatched => Drop, "fragment_unmatched";
        /// The service does not allow the packet's source.
        SourceDenied => Drop, "source_denied";
        /// The packet's source begins flows faster than the service allows to each.
        SourceLimited => Drop, "source_limited";
        /// Flows begin faster than the service allows in all.
        ServiceLimited => Drop, "service_limited";
        /// The service has no backend that takes traffic.
        NoBackend => Drop, "no_backend";
        /// Of a flow whose backend is gone for good.
        FlowOver => Drop, "flow_over";
        /// The backend's next hop has no known hardware address yet.
        NextHopUnknown => Drop, "next_hop_unknown";
        /// To be translated for a backend in a VLAN, but not under the tag of that VLAN.
        WrongVlan => Drop, "wrong_vlan";
        /// With its tunnel header the packet exceeds the MTU towards the backend.
        TooBig => Drop, "too_big";
        /// At the end of its hop limit.
        HopLimit => Drop, "hop_limit";
        /// To be answered by the balancer itself, which has given as many answers as it may.
        ReplyLimited => Drop, "reply_limited";
        /// The driver left no room before the packet for the tunnel header.
        NoHeadroom => Drop, "no_headroom";
        /// No port is left under which the backend could tell this flow from others.
        NatPortsExhausted => Drop, "nat_ports_exhausted";
        /// The table of translated flows is full.
        NatTableFull => Drop, "nat_table_full";
        /// Of a flow that is translated, but whose beginning has not been seen.
        NatUnknownFlow => Drop, "nat_unknown_flow";
    }
}

verdicts! {
    /// What the tunnel's far end did with a packet.
    pub enum DecapVerdict {
        /// Neither IP in IP nor GUE.
        NotTunnel => Pass, "not_tunnel";
        /// A tunnel packet from a source that is not a permitted load balancer.
        ForeignSource => Pass, "foreign_source";
        /// A tunnel packet on its way to another machine.
        ForeignDestination => Pass, "foreign_destination";
        /// The tunnel header was removed.
        Opened => Pass, "opened";
        /// Of a connection that this machine does not have: given on to the backend that may.
        SecondChance => Pass, "second_chance";
        /// From a permitted load balancer, but cut short, contradictory, or no packet within.
        Malformed => Drop, "malformed";
        /// From a permitted load balancer, but to an address that this machine does not have.
        NotLocal => Drop, "not_local";
        /// Marked as congested on the way, but the client's packet does not speak ECN.
        CongestionNotEcn => Drop, "congestion_not_ecn";
        /// The kernel refused to move the start of the packet.
        NotMoved => Drop, "not_moved";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_follow_the_order_of_all() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
        }
        for (index, verdict) in DecapVerdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
        }
    }

    #[test]
    fn reasons_are_unique_and_explained() {
        let mut seen = std::collections::BTreeSet::new();
        for verdict in Verdict::ALL {
            assert!(seen.insert(verdict.reason()), "{}", verdict.reason());
            assert!(verdict.explanation().ends_with('.'));
        }
        let mut seen = std::collections::BTreeSet::new();
        for verdict in DecapVerdict::ALL {
            assert!(seen.insert(verdict.reason()), "{}", verdict.reason());
            assert!(verdict.explanation().ends_with('.'));
        }
    }
}
