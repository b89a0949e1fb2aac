//! Where the fields of an earlier daemon's maps are, looked up once.

use super::{
    description::{Description, Field, Unreadable},
    measure::{DESTINATION, HASH_KEY, KEY_REST, SOURCE},
};

/// The fields of all maps.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) settings: Settings,
    pub(super) services: Services,
    pub(super) policies: Policies,
    pub(super) slots: Slots,
    pub(super) backends: Backends,
    pub(super) flows: Flows,
}

impl Fields {
    /// Those of a description, which must have them all.
    pub(super) fn of(described: &Description) -> Result<Self, Unreadable> {
        Ok(Self {
            settings: Settings::of(described)?,
            services: Services::of(described)?,
            policies: Policies::of(described)?,
            slots: Slots::of(described)?,
            backends: Backends::of(described)?,
            flows: Flows::of(described)?,
        })
    }
}

/// Fields of `SETTINGS`.
#[derive(Debug)]
pub(super) struct Settings {
    /// Secret of all hashes.
    pub(super) hash_key: [Field; HASH_KEY.len()],
    /// Flows that may be remembered in a tick.
    pub(super) inserts_per_tick: Field,
}

impl Settings {
    fn of(described: &Description) -> Result<Self, Unreadable> {
        let field = |name| described.field("SETTINGS", name);
        Ok(Self {
            hash_key: all(HASH_KEY.map(field))?,
            inserts_per_tick: field("inserts_per_tick")?,
        })
    }
}

/// Fields of `SERVICES`.
#[derive(Debug)]
pub(super) struct Services {
    /// The first word of the key.
    pub(super) key: Field,
    /// The rest of it.
    pub(super) rest: [Field; KEY_REST.len()],
    /// The identifier.
    pub(super) id: Field,
    /// Whether packets find it.
    pub(super) present: Field,
    /// Whether it has no slots.
    pub(super) empty: Field,
    /// The first slot.
    pub(super) base: Field,
    /// Binary logarithm of the number of slots.
    pub(super) bits: Field,
    /// Index of the policy.
    pub(super) policy: Field,
}

impl Services {
    fn of(described: &Description) -> Result<Self, Unreadable> {
        let field = |name| described.field("SERVICES", name);
        Ok(Self {
            key: field("key")?,
            rest: all(KEY_REST.map(field))?,
            id: field("id")?,
            present: field("present")?,
            empty: field("empty")?,
            base: field("base")?,
            bits: field("bits")?,
            policy: field("policy")?,
        })
    }
}

/// Fields of `POLICIES`.
#[derive(Debug)]
pub(super) struct Policies {
    /// Whether flows are remembered, whatever their slots say.
    pub(super) remembered: Field,
}

impl Policies {
    fn of(described: &Description) -> Result<Self, Unreadable> {
        Ok(Self { remembered: described.field("POLICIES", "remembered")? })
    }
}

/// Fields of `SLOTS`.
#[derive(Debug)]
pub(super) struct Slots {
    /// Items of a value.
    pub(super) items: u32,
    /// Bits of an item.
    pub(super) item_bits: u32,
    /// Backend of new flows.
    pub(super) current: Field,
    /// Backend of older flows.
    pub(super) previous: Field,
}

impl Slots {
    fn of(described: &Description) -> Result<Self, Unreadable> {
        let field = |name| described.field("SLOTS", name);
        let map = described.map("SLOTS")?;
        Ok(Self {
            items: map.items,
            item_bits: 8 * map.item(),
            current: field("current")?,
            previous: field("previous")?,
        })
    }
}

/// Fields of `BACKENDS`.
#[derive(Debug)]
pub(super) struct Backends {
    /// Identifier of the service.
    pub(super) service: Field,
    /// Counts the uses of the index.
    pub(super) generation: Field,
    /// The way to forward as a number; 0 is unused.
    pub(super) forward: Field,
    /// Whether the addresses are of IPv6.
    pub(super) ipv6: Field,
    /// Its address.
    pub(super) destination: [Field; DESTINATION.len()],
    /// Our address towards it.
    pub(super) source: [Field; SOURCE.len()],
    /// See `Backend::at_port`.
    pub(super) port: Field,
    /// See `Backend::spread`.
    pub(super) spread: Field,
    /// Of the next hop.
    pub(super) interface: Field,
    /// Of the next hop.
    pub(super) mtu: Field,
    /// Of the next hop.
    pub(super) vlan: Field,
    /// The first eight bytes of frames.
    pub(super) link_head: Field,
    /// The next four.
    pub(super) link_tail: Field,
}

impl Backends {
    fn of(described: &Description) -> Result<Self, Unreadable> {
        let field = |name| described.field("BACKENDS", name);
        Ok(Self {
            service: field("service")?,
            generation: field("generation")?,
            forward: field("forward")?,
            ipv6: field("ipv6")?,
            destination: all(DESTINATION.map(field))?,
            source: all(SOURCE.map(field))?,
            port: field("port")?,
            spread: field("spread")?,
            interface: field("interface")?,
            mtu: field("mtu")?,
            vlan: field("vlan")?,
            link_head: field("link_head")?,
            link_tail: field("link_tail")?,
        })
    }
}

/// Fields of `FLOWS`.
#[derive(Debug)]
pub(super) struct Flows {
    /// Items of a value.
    pub(super) items: u32,
    /// Bits of an item.
    pub(super) item_bits: u32,
    /// The hash; 0 is no flow.
    pub(super) tag: Field,
    /// Index of the backend.
    pub(super) backend: Field,
    /// Its generation.
    pub(super) generation: Field,
    /// Tick of the last packet.
    pub(super) seen: Field,
    /// How far its life has come.
    pub(super) phase: Field,
    /// See `former::CHECK`.
    pub(super) check: Field,
}

impl Flows {
    fn of(described: &Description) -> Result<Self, Unreadable> {
        let field = |name| described.field("FLOWS", name);
        let map = described.map("FLOWS")?;
        Ok(Self {
            items: map.items,
            item_bits: 8 * map.item(),
            tag: field("tag")?,
            backend: field("backend")?,
            generation: field("generation")?,
            seen: field("seen")?,
            phase: field("phase")?,
            check: field("check")?,
        })
    }
}

/// All fields, or what is wrong with the first that is not there.
fn all<const N: usize>(fields: [Result<Field, Unreadable>; N]) -> Result<[Field; N], Unreadable> {
    let fields: Vec<Field> = fields.into_iter().collect::<Result<_, _>>()?;
    Ok(fields.try_into().expect("as many as there were"))
}
