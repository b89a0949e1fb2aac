//! What tells the paths of one network namespace from each other.

/// One of the paths that a network namespace has room for. Who has the device has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u8);

/// Marks and tables. The bits are those that other users of marks leave alone: Kubernetes takes
/// `0xc000`, Cilium `0x0f00`, the VPC plug-in of AWS `0x0080`, Calico and Tailscale the upper half,
/// and rules for transparent proxies the lowest.
const FIRST: u32 = 0x3000;

impl Identity {
    /// All of them, in the order in which they are tried.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    /// Name of the TUN device.
    pub(super) fn device(self) -> String {
        format!("lbcheck{}", self.0)
    }

    /// The mark of packets that take this path.
    pub(super) const fn mark(self) -> u32 {
        FIRST | (self.0 as u32) << 4
    }

    /// The routing table that leads them to the device.
    pub(super) const fn table(self) -> u32 {
        self.mark()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shared_among_them_or_with_known_users_of_marks() {
        let marks: Vec<u32> = Identity::all().map(Identity::mark).collect();
        let devices: Vec<String> = Identity::all().map(Identity::device).collect();
        for (index, mark) in marks.iter().enumerate() {
            assert_eq!(mark & (0xc000 | 0x0f00 | 0x008f | 0xffff_0000), 0, "{mark:#x}");
            assert!(!marks[..index].contains(mark) && !devices[..index].contains(&devices[index]));
        }
    }
}
