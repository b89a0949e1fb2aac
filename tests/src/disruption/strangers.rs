//! Packets of connections that reach a backend which does not have them.

use std::fs;

use crate::host::Host;

/// The resets that these hosts' kernels have sent: their answer to packets of connections that
/// they do not know. A reset that a balancer forges is not among them, nor is one by a server that
/// ends.
pub(super) fn resets(hosts: &[Host]) -> u64 {
    hosts.iter().map(|host| host.enter(own_resets)).sum()
}

/// `OutRsts` of the calling thread's network, see proc_net(5).
fn own_resets() -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == "OutRsts").and_then(|(_, n)| n.parse().ok()).unwrap_or_default()
}
