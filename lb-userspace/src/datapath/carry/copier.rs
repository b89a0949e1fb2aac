//! Copying what packets remember, from maps that they have left or are about to leave.

use std::collections::BTreeMap;

use lb_common::{
    FlowSet, HashKey, ServiceKey,
    flow::Remembered,
    nat::{Translation, Tuple},
};

use super::{
    former::Former,
    plant::{Identity, backend_identity},
};
use crate::datapath::{
    arrays::Arrays,
    mapped::Mapped,
    tables::{self, INSERTS_PER_TICK},
    translations::{Cursor, Translations},
};

/// What was copied so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::datapath) struct Copied {
    /// Remembered flows.
    pub(in crate::datapath) flows: u64,
    /// Entries of translated flows, two a flow.
    pub(in crate::datapath) translations: u64,
    /// Flows and entries for which there was no room.
    pub(in crate::datapath) refused: u64,
}

/// Copies what is remembered, and lets old programs begin to remember nothing more while interfaces
/// go over to the new one.
///
/// An old program whose budget is spent sends a flow that begins where packets of a flow go that
/// nobody remembers, and so does the new program with the next one. So nothing is lost between the
/// last copy and the moment at which an interface goes over, however long that takes.
pub(in crate::datapath) struct Copier {
    sources: Vec<Source>,
    flows: Mapped<FlowSet>,
    translations: Translations,
    /// The tick at which the first copy began: later ones take only what packets have touched since.
    started: u16,
    copied: Copied,
}

struct Source {
    former: Former,
    /// The index here, and the generation, of the backend with an index there.
    backends: Vec<Option<(u16, u16)>>,
    /// The identifier here of the service with an identifier there.
    services: BTreeMap<u32, u32>,
    is_same_hash: bool,
    /// Whether packets of both find the same map.
    shares_translations: bool,
    /// What packets might begin to remember before they were kept from it.
    inserts: Option<u32>,
}

impl Copier {
    /// Copies everything once. `flows` and `translations` are the maps to copy to, `arrays` tells
    /// the services and backends of which both daemons know, `sharing` from which maps on packets
    /// find the translations of those that they have left.
    pub(in crate::datapath) fn new(
        formers: Vec<Former>,
        arrays: &Arrays,
        (flows, translations): (Mapped<FlowSet>, Translations),
        (now, shares_translations): (u16, bool),
    ) -> Self {
        let key = arrays.settings[0].hash_key;
        let here = Here::of(arrays);
        let source =
            |(number, former)| Source::new(former, &here, &key, shares_translations && number == 0);
        let sources = formers.into_iter().enumerate().map(source).collect();
        let copied = Copied::default();
        let mut copier = Self { sources, flows, translations, started: now, copied };
        copier.pass(|_| true);
        copier
    }

    /// What was copied so far.
    pub(in crate::datapath) const fn copied(&self) -> Copied {
        self.copied
    }

    /// From now on old programs begin to remember nothing more.
    pub(in crate::datapath) fn hold(&mut self) {
        for source in self.sources.iter_mut().filter(|source| source.inserts.is_none()) {
            source.inserts = Some(let_again(source.former.set_inserts(0)));
        }
        // Packets that were let before are done.
        tables::synchronize();
    }

    /// Copies what packets have touched since the first copy.
    pub(in crate::datapath) fn catch_up(&mut self) {
        let started = self.started;
        self.pass(|seen| !is_before(seen, started));
    }

    /// Copies for the last time: no interface runs an old program.
    pub(in crate::datapath) fn finish(mut self) -> Copied {
        tables::synchronize();
        self.catch_up();
        self.sources.clear();
        self.copied
    }

    fn pass(&mut self, is_wanted: impl Fn(u16) -> bool) {
        for source in &self.sources {
            source.copy_flows(&self.flows, &mut self.copied, &is_wanted);
            source.copy_translations(&self.translations, &mut self.copied, &is_wanted);
        }
    }
}

/// How many flows packets may begin to remember again. They may none now if a daemon died that had
/// kept them from it.
const fn let_again(before: u32) -> u32 {
    if before == 0 { INSERTS_PER_TICK } else { before }
}

/// A start that fails leaves the old programs as they were.
impl Drop for Copier {
    fn drop(&mut self) {
        for source in &self.sources {
            if let Some(inserts) = source.inserts {
                source.former.set_inserts(inserts);
            }
        }
    }
}

/// Who is who here.
struct Here {
    backends: BTreeMap<Identity, (u16, u16)>,
    services: BTreeMap<ServiceKey, u32>,
}

impl Here {
    fn of(arrays: &Arrays) -> Self {
        let services: BTreeMap<ServiceKey, u32> = arrays
            .services
            .iter()
            .filter(|service| service.table().is_present() && !service.key().is_address())
            .map(|service| (service.key(), service.id))
            .collect();
        let keys: BTreeMap<u32, ServiceKey> =
            services.iter().map(|(key, id)| (*id, *key)).collect();
        let backend = |(index, backend): (usize, &lb_common::Backend)| {
            let identity = backend_identity(*keys.get(&backend.service())?, backend)?;
            Some((identity, (index as u16, backend.generation())))
        };
        let backends = arrays.backends.iter().enumerate().skip(1).filter_map(backend).collect();
        Self { backends, services }
    }
}

impl Source {
    fn new(former: Former, here: &Here, key: &HashKey, shares_translations: bool) -> Self {
        let there: BTreeMap<u32, ServiceKey> =
            former.services().map(|service| (service.id, service.key)).collect();
        let backend = |index: usize| {
            let backend = former.backend(index as u16)?;
            let key = *there.get(&backend.service)?;
            here.backends.get(&backend_identity(key, &backend.entry(0))?).copied()
        };
        let most = former.backends().min(usize::from(u16::MAX) + 1);
        let backends = (0..most).map(backend).collect();
        let services =
            there.iter().filter_map(|(id, key)| Some((*id, *here.services.get(key)?))).collect();
        let is_same_hash = former.is_hashed_with(key);
        Self { former, backends, services, is_same_hash, shares_translations, inserts: None }
    }

    fn backend(&self, index: u16) -> Option<(u16, u16)> {
        self.backends.get(usize::from(index)).copied().flatten()
    }

    fn copy_flows(
        &self,
        to: &Mapped<FlowSet>,
        copied: &mut Copied,
        is_wanted: &impl Fn(u16) -> bool,
    ) {
        if !self.is_same_hash {
            return;
        }
        let mask = to.len() as u32 - 1;
        for number in 0..self.former.flow_sets() {
            for (hash, flow) in self.former.flows(number) {
                let Some((backend, generation)) = self.backend(flow.backend) else { continue };
                let set = &to[FlowSet::of(hash, mask) as usize];
                // Who has been seen later knows better; of two at the same time, packets do.
                let is_known = set.get(hash).is_some_and(|known| !is_before(known.seen, flow.seen));
                if is_known || !is_wanted(flow.seen) {
                    continue;
                }
                let moved = Remembered { backend, generation, ..flow };
                *(if enter(set, hash, moved) { &mut copied.flows } else { &mut copied.refused }) +=
                    1;
            }
        }
    }

    fn copy_translations(
        &self,
        to: &Translations,
        copied: &mut Copied,
        is_wanted: &impl Fn(u16) -> bool,
    ) {
        let Some(from) = self.former.translations().filter(|_| !self.shares_translations) else {
            return;
        };
        let mut cursor = Cursor::Start;
        while cursor != Cursor::End {
            let Ok(entries) = from.walk(&mut cursor) else { return };
            for (tuple, entry) in entries.iter().filter(|(_, entry)| is_wanted(entry.seen())) {
                let Some(moved) = self.moved(entry) else { continue };
                match copy_translation(to, tuple, &moved) {
                    Ok(true) => copied.translations += 1,
                    Ok(false) => {}
                    Err(_) => copied.refused += 1,
                }
            }
        }
    }

    /// The entry as it is here.
    fn moved(&self, entry: &Translation) -> Option<Translation> {
        let (backend, generation) = self.backend(entry.backend)?;
        let is_alive = self.former.backend(entry.backend)?.generation == entry.generation;
        let service = *self.services.get(&entry.service).filter(|_| is_alive)?;
        let mut moved = entry.copy();
        (moved.backend, moved.generation, moved.service) = (backend, generation, service);
        Some(moved)
    }
}

/// Enters a flow that may have been silent for longer than others in the set, which stay then. False
/// if all of them do.
fn enter(set: &FlowSet, hash: u64, flow: Remembered) -> bool {
    let is_full = set.get(hash).is_none() && set.iter().count() == FlowSet::FLOWS as usize;
    if is_full {
        let older = |(_, known): &(u64, Remembered)| is_before(known.seen, flow.seen);
        let oldest =
            set.iter().filter(older).max_by_key(|(_, known)| flow.seen.wrapping_sub(known.seen));
        let Some((oldest, _)) = oldest else { return false };
        set.forget(|hash, _| hash == oldest);
    }
    set.put(hash, flow).is_done()
}

/// Whether the entry was copied: it is not where packets have been seen later.
fn copy_translation(
    to: &Translations,
    tuple: &Tuple,
    entry: &Translation,
) -> std::io::Result<bool> {
    let known = to.get(tuple)?;
    if known.is_some_and(|known| !is_before(known.seen(), entry.seen())) {
        return Ok(false);
    }
    to.insert(tuple, entry).map(|()| true)
}

/// Whether a tick, of which there are 65,536, is before another.
const fn is_before(one: u16, other: u16) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use lb_common::flow::Phase;

    use super::*;

    #[test]
    fn a_flow_takes_the_place_of_one_that_is_silent_for_longer_and_of_no_other() {
        let flow = |seen| Remembered { backend: 1, generation: 1, seen, phase: Phase::Open };
        let set = FlowSet::default();
        for (hash, seen) in [(1, 65_530), (2, 3), (3, 5), (4, 4)] {
            assert!(enter(&set, hash, flow(seen)));
        }
        assert!(!enter(&set, 5, flow(65_529)), "older than all");
        assert!(enter(&set, 6, flow(2)));
        let mut left: Vec<u64> = set.iter().map(|(hash, _)| hash & !(1 << 63)).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3, 4, 6]);
    }

    #[test]
    fn what_a_daemon_that_died_has_left_undone_is_undone() {
        assert_eq!((let_again(0), let_again(7)), (INSERTS_PER_TICK, 7));
    }

    #[test]
    fn ticks_are_in_order_across_the_wrap() {
        assert!(is_before(1, 2) && is_before(65_535, 3));
        assert!(!is_before(2, 2) && !is_before(3, 65_535));
    }
}
