//! The tunnel's far end on a backend: an XDP program that removes outer headers.
//!
//! It opens tunnels only from the given load balancers to this machine, and only packets for
//! addresses that it has. It needs no daemon: program, lists and attachment stay until they are detached.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{
        HashMap, MapData, MapError, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{ProgramError, Xdp},
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
        kernel_version::{self, UnsupportedKernel},
        pins::{self, PinError, Pins},
    },
    objects,
};

const PROGRAM: &str = "decap";
const SOURCES: &str = "DECAP_SOURCES";
const ADDRESSES: &str = "DECAP_ADDRESSES";
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
    /// The kernel's verifier refused the program.
    #[error("the kernel refused the XDP program: {0}")]
    Unverified(#[from] ProgramError),
    /// An interface.
    #[error(transparent)]
    Attach(#[from] AttachError),
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
        mode: XdpMode,
        sources: &[IpNet],
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<Self, DecapError> {
        kernel_version::require_supported()?;
        limit("prefixes", sources.len(), MAX_SOURCES)?;
        let directory = directory(pin_dir, interface);
        let is_new = !exists(&directory)?;
        pins::mount_if_missing(&directory)?;
        pins::create(&directory)?;
        let attached = Self::attach_over(&directory, interface, mode, sources, addresses);
        if attached.is_err() && is_new {
            // The reason why it failed is worth more than why something of it is left.
            let _ = remove(&directory);
        }
        attached
    }

    fn attach_over(
        directory: &Path,
        interface: &str,
        mode: XdpMode,
        sources: &[IpNet],
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<Self, DecapError> {
        let mut ebpf = load(directory)?;
        // Addresses first: a tunnel that is opened too early would be dropped as not local.
        let mut decap = Self { addresses: take(&mut ebpf, ADDRESSES)? };
        decap.set_addresses(addresses)?;
        set_sources(&mut ebpf, sources)?;
        attach::attach(&mut ebpf, PROGRAM, interface, mode, &directory.join("link"))?;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its interface.
    pub interface: String,
    /// Packets by verdict.
    pub verdicts: Vec<(DecapVerdict, u64)>,
}

/// All far ends of this machine.
pub fn list(pin_dir: &Path) -> Result<Vec<Opened>, DecapError> {
    let root = root(pin_dir);
    let failed = |source| DecapError::from(PinError::File { path: root.clone(), source });
    let entries = match fs::read_dir(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()
        .map_err(failed)?;
    // A name that is no text is not from here.
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    names.map(|name| read(&root.join(&name), name.replace("%2e", "."))).collect()
}

/// Closes tunnels on an interface.
pub fn detach(pin_dir: &Path, interface: &str) -> Result<(), DecapError> {
    let directory = directory(pin_dir, interface);
    if !exists(&directory)? {
        return Err(DecapError::NotAttached(interface.to_owned()));
    }
    attach::release(interface, &directory.join("link"))?;
    remove(&directory)
}

/// Removes the pins of one interface, and the directories above if nothing else is in there.
fn remove(directory: &Path) -> Result<(), DecapError> {
    Pins::remove(directory)?;
    for directory in directory.ancestors().skip(1).take(2) {
        // Other far ends, or a balancer, are there if this fails.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

/// Whether it is there; who may not look cannot say that it is not.
fn exists(directory: &Path) -> Result<bool, DecapError> {
    let failed = |source| PinError::File { path: directory.to_owned(), source };
    Ok(directory.try_exists().map_err(failed)?)
}

fn root(pin_dir: &Path) -> PathBuf {
    pin_dir.join("decap-v1")
}

fn directory(pin_dir: &Path, interface: &str) -> PathBuf {
    root(pin_dir).join(interface.replace('.', "%2e"))
}

fn load(directory: &Path) -> Result<Ebpf, DecapError> {
    let mut loader = EbpfLoader::new();
    for name in [SOURCES, ADDRESSES, VERDICTS] {
        loader.map_pin_path(name, directory.join(name));
    }
    let mut ebpf = loader.load(objects::DECAP)?;
    // Before any map is taken out: the program names maps by descriptors that close with them.
    let program: &mut Xdp = ebpf
        .program_mut(PROGRAM)
        .and_then(|found| found.try_into().ok())
        .ok_or(AttachError::NoProgram(PROGRAM))?;
    program.load()?;
    Ok(ebpf)
}

fn set_sources(ebpf: &mut Ebpf, sources: &[IpNet]) -> Result<(), DecapError> {
    let mut trie: LpmTrie<MapData, PodPrefix, u32> = take(ebpf, SOURCES)?;
    let failed = |source| DecapError::Map { name: SOURCES, source };
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

fn take<T: TryFrom<aya::maps::Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, DecapError> {
    let failed = |source| DecapError::Map { name, source };
    let missing = || failed(MapError::InvalidName { name: name.to_owned() });
    T::try_from(ebpf.take_map(name).ok_or_else(missing)?).map_err(failed)
}

fn read(directory: &Path, interface: String) -> Result<Opened, DecapError> {
    let failed = |source| DecapError::Map { name: VERDICTS, source };
    let data = MapData::from_pin(directory.join(VERDICTS)).map_err(failed)?;
    let counters: PerCpuArray<MapData, u64> =
        PerCpuArray::try_from(aya::maps::Map::PerCpuArray(data)).map_err(failed)?;
    let count = |verdict: &DecapVerdict| {
        let values = counters.get(&(*verdict as u32), 0).map_err(failed)?;
        Ok((*verdict, values.iter().sum()))
    };
    let verdicts = DecapVerdict::ALL.iter().map(count).collect::<Result<_, DecapError>>()?;
    Ok(Opened { interface, verdicts })
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
