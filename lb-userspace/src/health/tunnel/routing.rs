//! Rules and routes that lead marked packets to the device.
//!
//! ```text
//! 5:  from all fwmark 0x3000/0xffffffff lookup 12288      table 12288: default dev lbcheck0
//! 6:  from all fwmark 0x3000/0xffffffff prohibit
//! ```
//! The second rule keeps a check from taking the ordinary way to the service's address, which ends
//! at any backend, when the table is empty: then it fails on this side, which no backend pays for.

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Message,
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use nix::{errno::Errno, net::if_::if_nametoindex};

use super::{
    device::MTU,
    error::TunnelError,
    identity::Identity,
    netlink::{Orders, is},
};

/// Before rules of others, which may send packets elsewhere by their source. After the rule for this
/// machine's own addresses, unless somebody has moved that.
const PRIORITY: u32 = 5;

/// Packets that wait for the reader. The driver's own default, 500, is less than a start of
/// thousands of checks makes at once.
const QUEUE: u32 = 16_384;

/// What leads marked packets to a device. Everything can be done again and again.
#[derive(Debug)]
pub(super) struct Routing {
    identity: Identity,
    index: u32,
    families: &'static [AddressFamily],
    is_open: bool,
}

/// Whether something was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Whole,
    Mended,
}

impl Routing {
    pub(super) const fn new(identity: Identity, index: u32, has_ipv6: bool) -> Self {
        let families: &[_] = if has_ipv6 {
            &[AddressFamily::Inet, AddressFamily::Inet6]
        } else {
            &[AddressFamily::Inet]
        };
        Self { identity, index, families, is_open: true }
    }

    /// Makes what is missing, unless this was closed.
    pub(super) fn install(&self) -> Result<Found, TunnelError> {
        if !self.is_open {
            return Ok(Found::Whole);
        }
        let device = self.identity.device();
        let failed = |what: &str| {
            let (what, device) = (format!("{what} of {device}"), device.clone());
            move |source| match source {
                error if is(&error, Errno::ENODEV) => TunnelError::Gone { device },
                source => TunnelError::Routing { what, source },
            }
        };
        let orders = Orders::open().map_err(failed("a netlink socket for the routes"))?;
        if self.families.contains(&AddressFamily::Inet6) {
            orders
                .order(Message::SetLink(self.without_addresses()), 0)
                .map_err(failed("switching off IPv6 addresses"))?;
        }
        orders.order(Message::SetLink(self.link()), 0).map_err(failed("bringing up the link"))?;
        let mut found = Found::Whole;
        let mut add = |message, what: &str| {
            match orders.order(message, NLM_F_CREATE | NLM_F_EXCL) {
                Ok(()) => found = Found::Mended,
                Err(error) if is(&error, Errno::EEXIST) => {}
                Err(error) => return Err(failed(what)(error)),
            }
            Ok(())
        };
        for family in self.families {
            add(Message::NewRoute(self.route(*family)), "making the default route")?;
            for rule in rules(self.identity, *family) {
                add(Message::NewRule(rule), "making the rule")?;
            }
        }
        Ok(found)
    }

    /// Takes the rules away, for good. Routes go with the device.
    pub(super) fn close(&mut self) -> Result<(), TunnelError> {
        // Once: when the device is gone, its name and all that goes with it may be another's.
        if std::mem::take(&mut self.is_open) { remove_rules(self.identity) } else { Ok(()) }
    }

    /// The link without addresses of its own, from which the kernel would talk to nobody.
    fn without_addresses(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = self.index;
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let inet6 = AfSpecUnspec::Inet6(vec![mode]);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet6]));
        message
    }

    fn link(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = self.index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![LinkAttribute::Mtu(MTU), LinkAttribute::TxQueueLen(QUEUE)];
        message
    }

    fn route(&self, family: AddressFamily) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope = match family {
            AddressFamily::Inet => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        message.attributes =
            vec![RouteAttribute::Table(self.identity.table()), RouteAttribute::Oif(self.index)];
        message
    }
}

/// Takes away what processes left that ended without doing so: rules of devices that are not there.
pub(super) fn remove_leftovers() -> Result<(), TunnelError> {
    Identity::all()
        .filter(|identity| if_nametoindex(identity.device().as_str()).is_err())
        .try_for_each(remove_rules)
}

fn remove_rules(identity: Identity) -> Result<(), TunnelError> {
    let failed = |source| TunnelError::Routing {
        what: format!("removing the rules of {}", identity.device()),
        source,
    };
    let orders = Orders::open().map_err(failed)?;
    let families = [AddressFamily::Inet, AddressFamily::Inet6];
    families
        .into_iter()
        .flat_map(|family| rules(identity, family))
        .try_for_each(|rule| if_there(orders.order(Message::DelRule(rule), 0)))
        .map_err(failed)
}

/// There may be no such rule, and no rules at all of a family that this machine does not have.
fn if_there(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(error)
            if [Errno::ENOENT, Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP]
                .into_iter()
                .any(|errno| is(&error, errno)) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn rules(identity: Identity, family: AddressFamily) -> [RuleMessage; 2] {
    let rule = |action, priority| {
        let mut message = RuleMessage::default();
        message.header.family = family;
        message.header.action = action;
        message.attributes = vec![
            RuleAttribute::Priority(priority),
            RuleAttribute::FwMark(identity.mark()),
            RuleAttribute::FwMask(u32::MAX),
        ];
        message
    };
    let mut lookup = rule(RuleAction::ToTable, PRIORITY);
    lookup.attributes.push(RuleAttribute::Table(identity.table()));
    [lookup, rule(RuleAction::Prohibit, PRIORITY + 1)]
}
