//! What becomes of the flows of a backend that takes no new ones any more.

use std::{fmt, time::Duration};

use super::Protocol;

/// What becomes of a backend's flows, by why it takes no new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRules {
    /// It drains: an operator, a weight of 0, or a way that its service cannot use says so.
    pub drain: FlowRule,
    /// Its checks fail, or an operator took it out.
    pub down: FlowRule,
    /// It is not in the configuration, the registry's answer or the operators' list any more.
    pub remove: FlowRule,
}

/// What becomes of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRule {
    /// They stay where they are.
    Keep {
        /// For how long; `None` is as long as the reason lasts.
        timeout: Option<Duration>,
        /// How they end then.
        then: FlowEnd,
    },
    /// They end at once.
    End(FlowEnd),
}

/// How flows end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// Their packets go to other backends, which answer those of TCP with a reset.
    Reselect,
    /// Their clients are told: by RST, or by ICMP port unreachable.
    Reset,
}

impl FlowRules {
    /// How long flows of TCP stay with a backend whose checks fail, where the configuration says
    /// nothing.
    pub const DOWN_TIMEOUT: Duration = Duration::from_secs(10);
    /// The same for a backend that was removed.
    pub const REMOVE_TIMEOUT: Duration = Duration::from_secs(30);

    /// Flows follow the table at once: all that those of UDP can do that are not remembered.
    pub const RESELECT: Self = {
        let reselect = FlowRule::End(FlowEnd::Reselect);
        Self { drain: reselect, down: reselect, remove: reselect }
    };

    /// What holds for remembered flows where the configuration says nothing.
    #[must_use]
    pub const fn usual(protocol: Protocol) -> Self {
        let then = FlowEnd::of(protocol);
        let drain = FlowRule::Keep { timeout: None, then };
        match protocol {
            Protocol::Udp => Self { drain, ..Self::RESELECT },
            Protocol::Tcp => Self {
                drain,
                down: FlowRule::Keep { timeout: Some(Self::DOWN_TIMEOUT), then },
                remove: FlowRule::Keep { timeout: Some(Self::REMOVE_TIMEOUT), then },
            },
        }
    }
}

impl FlowEnd {
    /// How flows end that were kept for long enough. A client of TCP would wait for minutes; one of
    /// UDP asks again.
    #[must_use]
    pub const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Reset,
            Protocol::Udp => Self::Reselect,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reselect => "reselect",
            Self::Reset => "reset",
        }
    }
}

/// As in `keep 10s, then reset`.
impl fmt::Display for FlowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep { timeout: None, .. } => f.write_str("keep"),
            Self::Keep { timeout: Some(timeout), then } => {
                write!(f, "keep {}, then {}", humantime::format_duration(*timeout), then.name())
            }
            Self::End(end) => f.write_str(end.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_people_read_them() {
        let shown =
            |rules: FlowRules| [rules.drain, rules.down, rules.remove].map(|rule| rule.to_string());
        let tcp = shown(FlowRules::usual(Protocol::Tcp));
        assert_eq!(tcp, ["keep", "keep 10s, then reset", "keep 30s, then reset"]);
        assert_eq!(shown(FlowRules::usual(Protocol::Udp)), ["keep", "reselect", "reselect"]);
    }
}
