//! Cables between hosts.

use std::fs;

use lb_userspace::objects;

use crate::{error::RigError, host::Host, offload};

/// Connects two hosts by a pair of veth interfaces, both up and with offloads off.
pub(crate) fn connect(
    (left, left_name): (&Host, &str),
    (right, right_name): (&Host, &str),
    mtu: u32,
) -> Result<(), RigError> {
    left.ip(&format!(
        "link add {left_name} mtu {mtu} type veth peer name {right_name} mtu {mtu} netns {}",
        right.pid(),
    ))?;
    for (host, interface) in [(left, left_name), (right, right_name)] {
        host.enter(|| offload::turn_off(interface)).map_err(|source| RigError::Kernel {
            host: host.name().into(),
            action: format!("turn off the offloads of {interface}"),
            source,
        })?;
        host.ip(&format!("link set {interface} up"))?;
    }
    Ok(())
}

/// Lets an interface take frames that an XDP program at the other end sends (`XDP_TX`, redirect).
///
/// Veth drops such frames silently unless the receiving end has a program too.
pub(crate) fn take_xdp_frames(host: &Host, interface: &str) -> Result<(), RigError> {
    // In the host's own /run, so it goes away with the host.
    let object = "/run/pass.o";
    fs::write(host.path(object), objects::PASS).map_err(|source| RigError::Kernel {
        host: host.name().into(),
        action: format!("write {object}"),
        source,
    })?;
    // Veth takes a program that is not for jumbo frames up to an MTU of some 3,500 bytes only.
    let words = ["dev", interface, "xdpdrv", "object", object, "section", "xdp.frags"];
    host.run(&[&["ip", "link", "set"], &words[..]].concat()).map(drop)
}
