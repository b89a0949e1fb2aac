//! The tunnel's far end twice: its program in the kernel and its source on the host.

use std::{
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, MapData, lpm_trie::Key},
};
use lb_common::{
    Address, DecapVerdict, Frame,
    decap::{self, Gate, LocalAddress, Segment, SourcePrefix, known},
    host::HostFrame,
};
use lb_userspace::objects;

use super::{
    outcome::{Outcome, Pair},
    program::{Program, stay_on_this_cpu},
};

/// Both far ends. Frames go through the kernel's and then through the host's.
pub struct Decap {
    kernel: Program<DecapVerdict>,
    second_chance: Array<MapData, u32>,
    gate: Lists,
    /// Test runs must stay on the processor of the thread that loaded the program.
    _thread: PhantomData<*const ()>,
}

/// Where the far ends of tests open GUE: the port that balancers send to unless told otherwise.
pub const GUE_PORT: u16 = 6080;

/// Load balancers as a prefix: the address and how many of its bits count.
#[derive(Clone, Copy, Debug)]
pub struct Prefix(pub IpAddr, pub u32);

impl Decap {
    /// Loads the program of a machine with `own` addresses, which opens tunnels of these sources if
    /// the packets in them are for `targets`, and GUE on [`GUE_PORT`]. The calling thread stays on
    /// its processor from now on.
    pub fn load(sources: &[Prefix], own: &[IpAddr], targets: &[IpAddr]) -> anyhow::Result<Self> {
        stay_on_this_cpu()?;
        let mut ebpf = Ebpf::load(objects::DECAP)?;
        let map = ebpf.map_mut("DECAP_SOURCES").context("no DECAP_SOURCES")?;
        let mut trie = LpmTrie::<_, SourceBytes, u32>::try_from(map)?;
        for Prefix(address, bits) in sources {
            let prefix = SourceBytes(SourcePrefix::of(&(*address).into()));
            trie.insert(&Key::new(SourcePrefix::VERSION_BITS + bits, prefix), 1, 0)?;
        }
        let map = ebpf.map_mut("DECAP_ADDRESSES").context("no DECAP_ADDRESSES")?;
        let mut set = HashMap::<_, AddressBytes, u32>::try_from(map)?;
        for (addresses, bit) in [(own, known::OWN), (targets, known::TARGET)] {
            for address in addresses {
                let key = AddressBytes(LocalAddress::of(&(*address).into()));
                let before = set.get(&key, 0).unwrap_or_default();
                set.insert(key, before | bit, 0)?;
            }
        }
        let map = ebpf.map_mut("DECAP_GUE_PORT").context("no DECAP_GUE_PORT")?;
        Array::<_, u32>::try_from(map)?.set(0, u32::from(GUE_PORT), 0)?;
        let map = ebpf.take_map("DECAP_SECOND_CHANCE").context("no DECAP_SECOND_CHANCE")?;
        Ok(Self {
            second_chance: map.try_into()?,
            kernel: Program::load(ebpf)?,
            gate: Lists {
                sources: sources.to_vec(),
                own: own.to_vec(),
                targets: targets.to_vec(),
                connections: None,
            },
            _thread: PhantomData,
        })
    }

    /// Makes both give packets on to other backends, except those of these connections: clients
    /// and services of the connections that this thread's network namespace has.
    pub fn give_on(&mut self, connections: &[[SocketAddr; 2]]) -> anyhow::Result<()> {
        self.second_chance.set(0, 1, 0)?;
        self.gate.connections = Some(connections.to_vec());
        Ok(())
    }

    /// Sends a frame through both.
    pub fn run(&mut self, frame: &[u8]) -> anyhow::Result<Pair<DecapVerdict>> {
        let answer = self.kernel.run(frame, 0)?;
        let host = self.run_on_host(frame);
        let kernel = Outcome {
            action: answer.action,
            verdict: self.kernel.verdict(host.verdict)?,
            bytes: answer.bytes,
        };
        Ok(Pair { kernel, host })
    }

    /// Sends a frame through both and expects them to agree.
    #[track_caller]
    pub fn agree(&mut self, frame: &[u8]) -> Outcome<DecapVerdict> {
        self.run(frame).expect("a test run").agreed(frame)
    }

    /// Sends a frame through the host's alone, which takes shorter ones than a test run does.
    #[must_use]
    pub fn run_on_host(&self, frame: &[u8]) -> Outcome<DecapVerdict> {
        let mut frame = HostFrame::new(frame);
        let verdict = decap::open(&mut frame, &self.gate);
        Outcome::of(verdict, frame.bytes().to_vec())
    }
}

/// The lists of the maps, searched without the maps' keys.
struct Lists {
    sources: Vec<Prefix>,
    own: Vec<IpAddr>,
    targets: Vec<IpAddr>,
    /// None if packets are not given on.
    connections: Option<Vec<[SocketAddr; 2]>>,
}

impl Gate for Lists {
    fn permits(&self, source: &Address) -> bool {
        let source = IpAddr::from(*source);
        self.sources.iter().any(|prefix| prefix.holds(source))
    }

    fn has(&self, address: &Address) -> bool {
        self.own.contains(&IpAddr::from(*address))
    }

    fn admits(&self, destination: &Address) -> bool {
        self.targets.contains(&IpAddr::from(*destination))
    }

    fn gue_port(&self) -> u16 {
        GUE_PORT
    }

    fn gives_on(&self) -> bool {
        self.connections.is_some()
    }

    fn knows<F: Frame>(&self, frame: &F, segment: &Segment) -> bool {
        let [a, b, c, d] = *frame.header::<[u8; 4]>(segment.transport).expect("a TCP header");
        let [client, server] = [segment.connection.client, segment.connection.server];
        let ends = [
            SocketAddr::new(client.into(), u16::from_be_bytes([a, b])),
            SocketAddr::new(server.into(), u16::from_be_bytes([c, d])),
        ];
        self.connections.iter().flatten().any(|known| *known == ends)
    }
}

impl Prefix {
    fn holds(self, address: IpAddr) -> bool {
        let Self(prefix, bits) = self;
        let (prefix, address, width) = match (prefix, address) {
            (IpAddr::V4(prefix), IpAddr::V4(address)) => {
                (prefix.to_bits().into(), address.to_bits().into(), u32::BITS)
            }
            (IpAddr::V6(prefix), IpAddr::V6(address)) => {
                (prefix.to_bits(), address.to_bits(), u128::BITS)
            }
            _ => return false,
        };
        let differing: u128 = prefix ^ address;
        differing.checked_shr(width - bits).unwrap_or(0) == 0
    }
}

/// [`SourcePrefix`] as aya moves it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct SourceBytes(SourcePrefix);

// SAFETY: numbers without padding.
unsafe impl aya::Pod for SourceBytes {}

/// [`LocalAddress`] as aya moves it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct AddressBytes(LocalAddress);

// SAFETY: numbers without padding.
unsafe impl aya::Pod for AddressBytes {}
