//! A network interface.

use std::io;

use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    XdpAttached,
};

use super::{
    requests::Requests,
    way::{Fault, InterfaceProblem},
};

/// A network interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it; another one after it was removed and made again.
    pub index: u32,
    /// Its name, which can change.
    pub name: String,
    /// Largest IP packet that it takes, in bytes.
    pub mtu: u32,
    /// Its hardware address; `None` if frames on it have no Ethernet header.
    pub mac: Option<[u8; 6]>,
    /// Whether it was set up.
    pub up: bool,
    /// Whether it is up and connected to the other end.
    pub running: bool,
    /// What it stands for, if it is a VLAN device.
    pub vlan: Option<Vlan>,
    /// The XDP program on it, whoever attached it.
    pub xdp: Option<AttachedXdp>,
}

/// What a VLAN device stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The number in the tag.
    pub id: u16,
    /// Index of the interface that its frames are sent by; `None` if that is in another network
    /// namespace.
    pub below: Option<u32>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    /// The kernel's number for the program.
    pub program_id: u32,
    /// Where packets meet it.
    pub mode: XdpAttachMode,
}

/// Where packets meet an XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAttachMode {
    /// In the driver, before the kernel makes a packet of its own out of the frame.
    Native,
    /// After that, in any driver, slowly.
    Generic,
    /// On the network card.
    Offload,
}

/// The interface of this name, or `None` if there is none. Must be called in a runtime.
pub async fn interface(name: &str) -> io::Result<Option<Interface>> {
    Requests::open()?.interface_named(name).await
}

impl Interface {
    /// Reads an interface from an answer.
    pub(super) fn read(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let mut interface = Self {
            index: message.header.index,
            name: String::new(),
            mtu: 0,
            mac: None,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp),
            vlan: vlan(&message.attributes),
            xdp: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::Address(bytes) if is_ethernet => {
                    interface.mac = bytes.as_slice().try_into().ok();
                }
                LinkAttribute::Xdp(attributes) => interface.xdp = attached(attributes),
                _ => {}
            }
        }
        interface
    }

    /// The hardware address to send frames from, if frames can be sent.
    pub(super) fn sender(&self) -> Result<[u8; 6], Fault> {
        let problem = if !self.up {
            InterfaceProblem::Down
        } else if !self.running {
            InterfaceProblem::NoCarrier
        } else if let Some(mac) = self.mac {
            return Ok(mac);
        } else {
            InterfaceProblem::NotEthernet
        };
        Err(Fault::Interface { name: self.name.clone(), problem })
    }
}

fn vlan(attributes: &[LinkAttribute]) -> Option<Vlan> {
    let (mut id, mut below, mut is_elsewhere) = (None, None, false);
    for attribute in attributes {
        match attribute {
            LinkAttribute::LinkInfo(infos) => id = infos.iter().find_map(vlan_id),
            LinkAttribute::Link(index) => below = Some(*index),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            _ => {}
        }
    }
    Some(Vlan { id: id?, below: below.filter(|_| !is_elsewhere) })
}

fn vlan_id(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(data)) = info else { return None };
    data.iter().find_map(|attribute| match attribute {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

/// Of several programs the one that packets meet first.
fn attached(attributes: &[LinkXdp]) -> Option<AttachedXdp> {
    let mut single = None;
    let mut mode = None;
    let mut programs = [None; 3];
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(XdpAttachMode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(XdpAttachMode::Generic),
            LinkXdp::Attached(XdpAttached::Hardware) => mode = Some(XdpAttachMode::Offload),
            LinkXdp::ProgId(id) => single = Some(*id),
            LinkXdp::HwProgId(id) => programs[0] = Some((*id, XdpAttachMode::Offload)),
            LinkXdp::DrvProgId(id) => programs[1] = Some((*id, XdpAttachMode::Native)),
            LinkXdp::SkbProgId(id) => programs[2] = Some((*id, XdpAttachMode::Generic)),
            _ => {}
        }
    }
    let (program_id, mode) =
        programs.into_iter().flatten().find(|(id, _)| *id != 0).or(single.zip(mode))?;
    Some(AttachedXdp { program_id, mode })
}

#[cfg(test)]
pub(super) mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    pub(in crate::netlink) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// An interface that can be used.
    pub(in crate::netlink) fn eth0() -> Interface {
        Interface {
            index: 7,
            name: "eth0".into(),
            mtu: 1500,
            mac: Some(MAC),
            up: true,
            running: true,
            vlan: None,
            xdp: None,
        }
    }

    fn message(flags: LinkFlags, kind: LinkLayerType) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = flags;
        message.header.link_layer_type = kind;
        message.attributes = vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(MAC.to_vec()),
        ];
        message
    }

    const RUNNING: LinkFlags = LinkFlags::Up.union(LinkFlags::Running).union(LinkFlags::LowerUp);

    #[test]
    fn reads_an_interface() {
        let found = Interface::read(&message(RUNNING, LinkLayerType::Ether));
        assert_eq!(found, eth0());
        assert_eq!(found.sender(), Ok(MAC));
    }

    #[test]
    fn knows_what_cannot_send() {
        let no_carrier = LinkFlags::Up | LinkFlags::LowerUp;
        for (flags, kind, expected) in [
            (LinkFlags::empty(), LinkLayerType::Ether, InterfaceProblem::Down),
            (no_carrier, LinkLayerType::Ether, InterfaceProblem::NoCarrier),
            (RUNNING, LinkLayerType::Tunnel, InterfaceProblem::NotEthernet),
        ] {
            let fault = Fault::Interface { name: "eth0".into(), problem: expected };
            assert_eq!(Interface::read(&message(flags, kind)).sender(), Err(fault), "{kind:?}");
        }
    }

    #[test]
    fn reads_vlan_devices() {
        let read = |attributes: Vec<LinkAttribute>| {
            let mut message = message(RUNNING, LinkLayerType::Ether);
            message.attributes.extend(attributes);
            Interface::read(&message).vlan
        };
        let info = || {
            let data = InfoData::Vlan(vec![InfoVlan::Id(100)]);
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)])
        };
        let below = LinkAttribute::Link(2);
        let elsewhere = LinkAttribute::LinkNetNsId(0);
        assert_eq!(read(vec![info(), below.clone()]), Some(Vlan { id: 100, below: Some(2) }));
        assert_eq!(
            read(vec![below.clone(), elsewhere, info()]),
            Some(Vlan { id: 100, below: None })
        );
        let veth = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]);
        assert_eq!(read(vec![veth, below]), None, "a veth has another end, not a lower one");
    }

    #[test]
    fn reads_the_attached_program() {
        let read = |attributes| {
            let mut message = message(RUNNING, LinkLayerType::Ether);
            message.attributes.push(LinkAttribute::Xdp(attributes));
            let xdp = Interface::read(&message).xdp?;
            Some((xdp.program_id, xdp.mode))
        };
        assert_eq!(read(vec![LinkXdp::Attached(XdpAttached::None)]), None);
        for (attributes, expected) in [
            (
                vec![
                    LinkXdp::Attached(XdpAttached::Driver),
                    LinkXdp::ProgId(9),
                    LinkXdp::DrvProgId(9),
                ],
                (9, XdpAttachMode::Native),
            ),
            (
                vec![LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(8)],
                (8, XdpAttachMode::Generic),
            ),
            (
                vec![
                    LinkXdp::Attached(XdpAttached::Multiple),
                    LinkXdp::SkbProgId(5),
                    LinkXdp::HwProgId(4),
                ],
                (4, XdpAttachMode::Offload),
            ),
        ] {
            assert_eq!(read(attributes), Some(expected));
        }
    }
}
