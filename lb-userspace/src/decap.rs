//! The tunnel's far end on a backend: an XDP program that removes outer headers.
//!
//! It opens tunnels only from the given load balancers to this machine, and only packets for
//! addresses that it has. Where it is asked to, it gives packets of connections that this machine does
//! not have on to the other backend that their tunnel names, for this machine to route. It needs no
//! daemon: program, lists and attachment stay until they are detached.

mod places;
mod routing;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::Path,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use lb_common::{
    Address, DecapVerdict,
    decap::{LocalAddress, MAX_ADDRESSES, MAX_SOURCES, SourcePrefix, known},
};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use crate::{
    config::XdpMode,
    datapath::{
        attach::{self, AttachError},
        foreign::Occupants,
        kernel_version::{self, UnsupportedKernel},
        pins::{self, PinError, Pins},
        variant::Program,
    },
    objects,
};
use places::Place;
pub use routing::NotRouted;

const PROGRAM: Program = Program { plain: "decap", jumbo: "decap_frags" };
const SOURCES: &str = "DECAP_SOURCES";
const ADDRESSES: &str = "DECAP_ADDRESSES";
const GUE_PORT: &str = "DECAP_GUE_PORT";
const SECOND_CHANCE: &str = "DECAP_SECOND_CHANCE";
const VERDICTS: &str = "DECAP_VERDICTS";

/// Why a far end cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DecapError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] UnsupportedKernel),
    /// Files on the BPF file system.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The kernel refused the object.
    #[error("the kernel refused the XDP program: {0}")]
    Refused(#[from] EbpfError),
    /// An interface.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Packets for other backends would be lost here.
    #[error(transparent)]
    NotRouted(#[from] NotRouted),
    /// A list cannot be written or read.
    #[error("map {name}: {source}")]
    Map {
        /// Which.
        name: &'static str,
        /// What is wrong.
        source: MapError,
    },
    /// The machine does not tell its addresses.
    #[error("asking for local addresses: {0}")]
    OwnAddresses(io::Error),
    /// More than the lists hold.
    #[error("{count} {what}, but at most {most} fit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many fit.
        most: usize,
    },
    /// Nothing is attached there.
    #[error("no tunnels are opened on `{0}`: see `lbctl decap show`")]
    NotAttached(String),
    /// Another version of lb has attached it, and counts otherwise.
    #[error("another version of lb opens tunnels on `{0}`: attach again, which loses no packet")]
    OtherVersion(String),
}

/// Which tunnels are opened, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How the program is attached.
    pub mode: XdpMode,
    /// Load balancers that may send tunnels here.
    pub sources: &'a [IpNet],
    /// UDP port of GUE; 0 opens none.
    pub gue_port: u16,
    /// Addresses at which tunnelled packets may be aimed.
    pub addresses: &'a BTreeSet<IpAddr>,
    /// What becomes of packets of connections that this machine does not have.
    pub strangers: Strangers,
}

/// What becomes of packets of connections that this machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// They are opened: this machine's network stack answers them with a reset.
    Open,
    /// If their tunnel names another backend, they are given on to that.
    GiveOn,
}

/// An address as aya moves it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct PodAddress(LocalAddress);

// SAFETY: 16 bytes without padding.
unsafe impl aya::Pod for PodAddress {}

/// A prefix as aya moves it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodPrefix(SourcePrefix);

// SAFETY: 20 bytes without padding.
unsafe impl aya::Pod for PodPrefix {}

/// The far end on one interface.
pub struct Decap {
    addresses: HashMap<MapData, PodAddress, u32>,
}

impl Decap {
    /// Opens tunnels on an interface. If it did so before, the lists are replaced without a gap.
    pub fn attach(
        pin_dir: &Path,
        interface: &str,
        request: Request<'_>,
    ) -> Result<Self, DecapError> {
        kernel_version::require_supported()?;
        limit("prefixes", request.sources.len(), MAX_SOURCES)?;
        if request.strangers == Strangers::GiveOn {
            routing::require(interface, request.sources)?;
        }
        let place = Place::new(pin_dir, interface);
        let is_new = !place.exists()?;
        place.prepare()?;
        let attached = Self::attach_at(&place, interface, request);
        if attached.is_err() && is_new {
            // The reason why it failed is worth more than why something of it is left.
            let _ = place.remove();
        }
        attached
    }

    fn attach_at(place: &Place, interface: &str, request: Request<'_>) -> Result<Self, DecapError> {
        let new_maps = place.new_maps();
        Pins::remove(&new_maps)?;
        if place.has_compatible_maps() {
            return Self::attach_over(&place.maps(), &place.link(), interface, request);
        }
        pins::create(&new_maps)?;
        let decap = Self::attach_over(&new_maps, &place.link(), interface, request)?;
        place.replace_maps()?;
        Ok(decap)
    }

    fn attach_over(
        maps: &Path,
        link: &Path,
        interface: &str,
        request: Request<'_>,
    ) -> Result<Self, DecapError> {
        let mut ebpf = load(maps)?;
        // Addresses first: a tunnel that is opened too early would be dropped as not local.
        let mut decap = Self { addresses: take(&mut ebpf, ADDRESSES)? };
        decap.set_addresses(request.addresses)?;
        set_word(&mut ebpf, GUE_PORT, request.gue_port.into())?;
        let gives_on = request.strangers == Strangers::GiveOn;
        set_word(&mut ebpf, SECOND_CHANCE, gives_on.into())?;
        set_sources(&mut ebpf, request.sources)?;
        let mut occupants = Occupants::default();
        attach::attach(&mut ebpf, PROGRAM, interface, request.mode, link, &mut occupants)?;
        Ok(decap)
    }

    /// Replaces the addresses at which tunnelled packets may be aimed. Loopback is never one. Tunnels
    /// may end at every address that this machine has now.
    pub fn set_addresses(&mut self, targets: &BTreeSet<IpAddr>) -> Result<(), DecapError> {
        let wanted = wanted_addresses(&own_addresses()?, targets);
        limit("addresses", wanted.len(), MAX_ADDRESSES)?;
        let failed = |source| DecapError::Map { name: ADDRESSES, source };
        let wanted: Vec<(PodAddress, u32)> = wanted
            .into_iter()
            .map(|(address, bits)| (PodAddress(LocalAddress::of(&Address::from(address))), bits))
            .collect();
        let present: Vec<PodAddress> = self.addresses.keys().filter_map(Result::ok).collect();
        let is_wanted = |address: &&PodAddress| wanted.iter().any(|(other, _)| other == *address);
        for address in present.iter().filter(|address| !is_wanted(address)) {
            self.addresses.remove(address).map_err(failed)?;
        }
        for (address, bits) in wanted {
            self.addresses.insert(address, bits, 0).map_err(failed)?;
        }
        Ok(())
    }
}

/// What `DECAP_ADDRESSES` is to say.
fn wanted_addresses(own: &BTreeSet<IpAddr>, targets: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, u32> {
    let mut wanted = BTreeMap::new();
    for (addresses, bit) in [(own, known::OWN), (targets, known::TARGET)] {
        for address in addresses.iter().filter(|address| !address.is_loopback()) {
            *wanted.entry(*address).or_default() |= bit;
        }
    }
    wanted
}

/// The addresses of all interfaces of this machine.
fn own_addresses() -> Result<BTreeSet<IpAddr>, DecapError> {
    let address = |found: InterfaceAddress| {
        let address = found.address?;
        let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        ipv4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    let found = getifaddrs().map_err(|errno| DecapError::OwnAddresses(errno.into()))?;
    Ok(found.filter_map(address).collect())
}

/// What a far end has done.
#[derive(Debug)]
pub struct Opened {
    /// Its interface.
    pub interface: String,
    /// Packets by verdict, or why they cannot be told.
    pub verdicts: Result<Vec<(DecapVerdict, u64)>, DecapError>,
}

/// All far ends of this machine, each with what it has done. An error says that the machine does not
/// tell which there are.
pub fn list(pin_dir: &Path) -> Result<Vec<Opened>, DecapError> {
    let interfaces = Place::interfaces(pin_dir)?;
    let opened = |interface: String| Opened { verdicts: read(pin_dir, &interface), interface };
    Ok(interfaces.into_iter().map(opened).collect())
}

/// Closes tunnels on an interface.
pub fn detach(pin_dir: &Path, interface: &str) -> Result<(), DecapError> {
    let place = Place::new(pin_dir, interface);
    if !place.exists()? {
        return Err(DecapError::NotAttached(interface.to_owned()));
    }
    place.prepare()?;
    attach::release(interface, &place.link())?;
    Ok(place.remove()?)
}

/// Loads the object over the maps that are pinned in a directory, and pins there those that are not.
fn load(maps: &Path) -> Result<Ebpf, DecapError> {
    let mut loader = EbpfLoader::new();
    for name in [SOURCES, ADDRESSES, GUE_PORT, SECOND_CHANCE, VERDICTS] {
        loader.map_pin_path(name, maps.join(name));
    }
    Ok(loader.load(objects::DECAP)?)
}

/// Sets the one word of a map.
fn set_word(ebpf: &mut Ebpf, name: &'static str, word: u32) -> Result<(), DecapError> {
    let failed = |source| DecapError::Map { name, source };
    let mut map: Array<_, u32> = map(ebpf, name)?.try_into().map_err(failed)?;
    map.set(0, word, 0).map_err(failed)
}

fn set_sources(ebpf: &mut Ebpf, sources: &[IpNet]) -> Result<(), DecapError> {
    let failed = |source| DecapError::Map { name: SOURCES, source };
    let mut trie: LpmTrie<_, PodPrefix, u32> = map(ebpf, SOURCES)?.try_into().map_err(failed)?;
    let key = |net: &IpNet| {
        let bits = SourcePrefix::VERSION_BITS + u32::from(net.prefix_len());
        Key::new(bits, PodPrefix(SourcePrefix::of(&Address::from(net.network()))))
    };
    let present: Vec<Key<PodPrefix>> = trie.keys().filter_map(Result::ok).collect();
    for net in sources {
        trie.insert(&key(net), 1, 0).map_err(failed)?;
    }
    for old in present {
        let (bits, prefix) = (old.prefix_len(), old.data().0);
        let is_wanted =
            sources.iter().map(key).any(|new| new.prefix_len() == bits && new.data().0 == prefix);
        if !is_wanted {
            trie.remove(&old).map_err(failed)?;
        }
    }
    Ok(())
}

/// A map that stays in the object: programs that are loaded later name it by its descriptor.
fn map<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Map, DecapError> {
    let missing =
        || DecapError::Map { name, source: MapError::InvalidName { name: name.to_owned() } };
    ebpf.map_mut(name).ok_or_else(missing)
}

fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, DecapError> {
    let failed = |source| DecapError::Map { name, source };
    let missing = || failed(MapError::InvalidName { name: name.to_owned() });
    T::try_from(ebpf.take_map(name).ok_or_else(missing)?).map_err(failed)
}

fn read(pin_dir: &Path, interface: &str) -> Result<Vec<(DecapVerdict, u64)>, DecapError> {
    let failed = |source| DecapError::Map { name: VERDICTS, source };
    let place = Place::new(pin_dir, interface);
    if !place.has_compatible_maps() {
        return Err(DecapError::OtherVersion(interface.to_owned()));
    }
    let data = MapData::from_pin(place.maps().join(VERDICTS)).map_err(failed)?;
    let counters: PerCpuArray<MapData, u64> =
        PerCpuArray::try_from(Map::PerCpuArray(data)).map_err(failed)?;
    let count = |verdict: &DecapVerdict| {
        let values = counters.get(&(*verdict as u32), 0).map_err(failed)?;
        Ok((*verdict, values.iter().sum()))
    };
    DecapVerdict::ALL.iter().map(count).collect()
}

fn limit(what: &'static str, count: usize, most: usize) -> Result<(), DecapError> {
    if count > most { Err(DecapError::TooMany { what, count, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_targets_leave_the_tunnels_ends_at_own_addresses() {
        let set = |addresses: &[&str]| -> BTreeSet<IpAddr> {
            addresses.iter().map(|address| address.parse().expect("an address")).collect()
        };
        let wanted = wanted_addresses(
            &set(&["127.0.0.1", "10.0.0.1", "192.0.2.1"]),
            &set(&["::1", "192.0.2.1", "192.0.2.2"]),
        );
        let bits: Vec<_> =
            wanted.iter().map(|(address, bits)| (address.to_string(), *bits)).collect();
        let expected = [("10.0.0.1", 1), ("192.0.2.1", 3), ("192.0.2.2", 2)];
        assert_eq!(bits, expected.map(|(address, bits)| (address.to_owned(), bits)));
    }
}
