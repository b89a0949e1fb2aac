//! The interface by which frames leave: not always the one that the route names.

use std::collections::BTreeSet;

use super::{
    interface::Interface,
    way::{Fault, InterfaceProblem},
};

/// The interface by which frames leave.
///
/// An XDP program that runs in a driver cannot send by a VLAN device. It can by the interface below,
/// with the tag in the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outlet {
    /// Its index.
    pub(super) interface: u32,
    /// Its name.
    pub(super) name: String,
    /// The VLAN whose tag frames get, if the route names a VLAN device above it.
    pub(super) vlan: Option<u16>,
}

impl Outlet {
    /// Where frames leave if the route names `interface`. `below` is the interface below that, if it
    /// is a VLAN device, and `attached` are the names of those by which packets come in.
    pub(super) fn of(
        interface: &Interface,
        below: Option<&Interface>,
        attached: &BTreeSet<String>,
    ) -> Result<Self, Fault> {
        let by = |interface: &Interface, vlan| Self {
            interface: interface.index,
            name: interface.name.clone(),
            vlan,
        };
        let Some(vlan) = interface.vlan else { return Ok(by(interface, None)) };
        // Frames that come in by a VLAN device have no tag, and go out by it as they came.
        if attached.contains(&interface.name) {
            return Ok(by(interface, None));
        }
        match below {
            Some(below) if attached.contains(&below.name) => Ok(by(below, Some(vlan.id))),
            _ => Err(Fault::Interface {
                name: interface.name.clone(),
                problem: InterfaceProblem::Vlan,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::interface::{Vlan, tests::eth0};

    fn device() -> Interface {
        let vlan = Some(Vlan { id: 100, below: Some(7) });
        Interface { index: 9, name: "eth0.100".into(), vlan, ..eth0() }
    }

    fn outlet(attached: &[&str]) -> Result<Outlet, Fault> {
        let attached = attached.iter().map(|name| (*name).to_owned()).collect();
        Outlet::of(&device(), Some(&eth0()), &attached)
    }

    #[test]
    fn an_ordinary_interface_is_its_own_outlet() {
        let expected = Outlet { interface: 7, name: "eth0".into(), vlan: None };
        assert_eq!(Outlet::of(&eth0(), None, &BTreeSet::new()), Ok(expected));
    }

    #[test]
    fn frames_with_tags_leave_below_the_vlan_device() {
        let expected = Outlet { interface: 7, name: "eth0".into(), vlan: Some(100) };
        assert_eq!(outlet(&["eth0", "eth1"]), Ok(expected));
    }

    #[test]
    fn frames_without_tags_leave_by_the_vlan_device_by_which_they_came() {
        let expected = Outlet { interface: 9, name: "eth0.100".into(), vlan: None };
        assert_eq!(outlet(&["eth0.100"]), Ok(expected.clone()));
        assert_eq!(outlet(&["eth0", "eth0.100"]), Ok(expected));
    }

    #[test]
    fn a_vlan_device_by_which_no_frames_come_is_of_no_use() {
        let fault = outlet(&["eth1"]).expect_err("a fault");
        assert_eq!(
            fault.to_string(),
            "interface eth0.100 is a VLAN device, by which XDP cannot send: name it, or the \
             interface below it, in daemon.interfaces"
        );
        let attached = BTreeSet::from(["eth0".to_owned()]);
        let elsewhere = Outlet::of(&device(), None, &attached);
        assert!(elsewhere.is_err(), "what is below is in another namespace: {elsewhere:?}");
    }
}
