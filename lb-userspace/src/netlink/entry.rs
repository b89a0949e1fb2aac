//! An entry of the kernel's neighbour table.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
};

/// What the kernel knows about a neighbour's hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It has heard of it, lately or a while ago.
    Known([u8; 6]),
    /// It has heard of it, and is asking there whether that is still so.
    Probed([u8; 6]),
    /// Somebody else says it and looks after it.
    Kept([u8; 6]),
    /// Somebody else looks after it, and does not say it yet.
    Awaited,
    /// It is asking for it.
    Asking,
    /// It has asked in vain.
    Failed,
    /// It was never told to ask, or has forgotten.
    Absent,
}

impl Entry {
    /// Reads an entry from an answer or an event.
    pub(super) fn read(message: &NeighbourMessage) -> Self {
        let hardware = message.attributes.iter().find_map(|attribute| {
            let NeighbourAttribute::LinkLayerAddress(bytes) = attribute else {
                return None;
            };
            <[u8; 6]>::try_from(bytes.as_slice()).ok()
        });
        let is_kept = is_kept_by_others(message);
        match (message.header.state, hardware) {
            (NeighbourState::Permanent | NeighbourState::Noarp, Some(hardware)) => {
                Self::Kept(hardware)
            }
            (
                NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe,
                Some(hardware),
            ) if is_kept => Self::Kept(hardware),
            (NeighbourState::Probe, Some(hardware)) => Self::Probed(hardware),
            (
                NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay,
                Some(hardware),
            ) => Self::Known(hardware),
            _ if is_kept => Self::Awaited,
            (NeighbourState::Incomplete, _) => Self::Asking,
            (NeighbourState::Failed, _) => Self::Failed,
            _ => Self::Absent,
        }
    }

    /// The hardware address, if there is one.
    pub(super) const fn hardware(self) -> Option<[u8; 6]> {
        match self {
            Self::Known(hardware) | Self::Probed(hardware) | Self::Kept(hardware) => Some(hardware),
            Self::Awaited | Self::Asking | Self::Failed | Self::Absent => None,
        }
    }
}

/// Whether somebody else looks after the entry: an EVPN daemon, or the kernel for Cilium.
///
/// Telling the kernel to ask or to probe would take such an entry away from them, because a request
/// also says which of these flags the entry has from now on. In the same way it makes a permanent
/// entry an ordinary one, so those are left alone too. See `__neigh_update` in the kernel's
/// `net/core/neighbour.c`, since 5.16.
fn is_kept_by_others(message: &NeighbourMessage) -> bool {
    message.header.flags.contains(NeighbourFlags::ExtLearned)
        || message.attributes.iter().any(|attribute| {
            matches!(attribute, NeighbourAttribute::ExtFlags(flags)
                if flags.contains(NeighbourExtFlags::Managed))
        })
}

/// The question for the entry of one neighbour.
pub(super) fn question(interface: u32, neighbour: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match neighbour {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = interface;
    message.attributes.push(NeighbourAttribute::Destination(neighbour.into()));
    message
}

/// Whose entry a message is about. `None` for tables of other kinds, such as a bridge's.
pub(super) fn subject(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some((*address).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
            Some((*address).into())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn message(state: NeighbourState, hardware: &[u8]) -> NeighbourMessage {
        let mut message = question(7, [10, 0, 0, 2].into());
        message.header.state = state;
        if !hardware.is_empty() {
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(hardware.to_vec()));
        }
        message
    }

    #[test]
    fn reads_every_state() {
        for (state, expected) in [
            (NeighbourState::Reachable, Entry::Known(HARDWARE)),
            (NeighbourState::Delay, Entry::Known(HARDWARE)),
            (NeighbourState::Probe, Entry::Probed(HARDWARE)),
            (NeighbourState::Permanent, Entry::Kept(HARDWARE)),
            (NeighbourState::Noarp, Entry::Kept(HARDWARE)),
            (NeighbourState::Stale, Entry::Known(HARDWARE)),
            (NeighbourState::Incomplete, Entry::Asking),
            (NeighbourState::Failed, Entry::Failed),
            (NeighbourState::None, Entry::Absent),
        ] {
            assert_eq!(Entry::read(&message(state, &HARDWARE)), expected, "{state:?}");
        }
    }

    #[test]
    fn a_hardware_address_has_six_bytes() {
        for hardware in [&[][..], &[1, 2, 3, 4], &[0; 20]] {
            let entry = Entry::read(&message(NeighbourState::Reachable, hardware));
            assert_eq!(entry, Entry::Absent, "{hardware:?}");
        }
    }

    #[test]
    fn leaves_entries_of_others_to_them() {
        let learned: fn(NeighbourState) -> NeighbourMessage = |state| {
            let mut message = message(state, &HARDWARE);
            message.header.flags = NeighbourFlags::ExtLearned;
            message
        };
        let managed: fn(NeighbourState) -> NeighbourMessage = |state| {
            let mut message = message(state, &HARDWARE);
            let flags = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
            message.attributes.push(flags);
            message
        };
        for read in [learned, managed] {
            for state in [NeighbourState::Stale, NeighbourState::Probe] {
                assert_eq!(Entry::read(&read(state)), Entry::Kept(HARDWARE), "{state:?}");
            }
            for state in [NeighbourState::Failed, NeighbourState::Incomplete, NeighbourState::None]
            {
                assert_eq!(Entry::read(&read(state)), Entry::Awaited, "{state:?}");
            }
        }
    }

    #[test]
    fn knows_whom_a_message_is_about() {
        for address in ["10.0.0.2", "fd00::2"] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(subject(&question(7, address)), Some(address));
        }
        assert_eq!(subject(&NeighbourMessage::default()), None);
    }
}
