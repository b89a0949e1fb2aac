//! How a start comes to its maps: those that are pinned, or new ones that take over what these hold.

use std::time::Duration;

use lb_common::HashKey;

use super::{
    DatapathError,
    carry::{
        self, Copier, Former, Planted,
        sets::{self, MapSet},
    },
    clock,
    counters::TrafficCounters,
    load,
    pins::{self, Pins},
    program::{self, LoadError, Loaded},
    tables::Tables,
    translations::Translations,
    tunnels::Tunnels,
};
use crate::config::Daemon;

/// Maps with the program over them, which no packet uses that did not before.
pub(super) struct Opened {
    pub(super) tables: Tables,
    pub(super) counters: TrafficCounters,
    pub(super) map_bytes: u64,
    pub(super) ebpf: aya::Ebpf,
    /// Whether the maps are to take the place of those that are pinned.
    pub(super) is_new: bool,
    /// What goes on filling them from maps that packets still use.
    pub(super) copier: Option<Copier>,
}

/// Takes over the maps that are pinned, or makes new ones from them.
pub(super) fn open(daemon: &Daemon, pins: &Pins) -> Result<Opened, DatapathError> {
    let sets = MapSet::all(pins);
    let is_usable = |set: &MapSet| {
        set.maps == pins.maps()
            && set.is_own()
            && program::are_compatible(&set.maps, &daemon.limits)
    };
    if let Some((latest, others)) = sets.split_first().filter(|(latest, _)| is_usable(latest)) {
        if let Some(mut opened) = adopt(daemon, load(daemon, &latest.maps)?) {
            // Left by a start that was cut short: packets may have used them to this day.
            opened.go_on_from(daemon, formers(others), false)?;
            return Ok(opened);
        }
        tracing::warn!("the pinned tables are another seed's or damaged");
    }
    make(daemon, pins, &sets)
}

/// Makes maps beside those that there are, and fills them with what these hold.
fn make(daemon: &Daemon, pins: &Pins, sets: &[MapSet]) -> Result<Opened, DatapathError> {
    pins::create(&pins.new_maps())?;
    let (latest, others) = sets.split_at(sets.len().min(1));
    let mut formers = formers(latest);
    let shares = match (latest, &formers[..]) {
        ([latest], [former]) => {
            sets::share_translations(former, &latest.maps, &pins.new_maps(), &daemon.limits)
        }
        _ => false,
    };
    let mut loaded = load(daemon, &pins.new_maps())?;
    sets::describe(&mut loaded.layout, sets);
    let key = hash_key(daemon);
    let planted =
        formers.first().map(|former| carry::plant(former, &mut loaded.arrays, key, &daemon.limits));
    let mut opened = adopt(daemon, loaded).ok_or(DatapathError::NotEmpty)?;
    opened.is_new = true;
    let is_same_hash = formers.first().is_none_or(|former| former.is_hashed_with(&key));
    if !formers.is_empty() {
        formers.extend(self::formers(others));
    }
    opened.go_on_from(daemon, formers, shares)?;
    match planted {
        Some(planted) if is_same_hash => tell(&opened, planted, shares),
        Some(_) => warn(
            "building new tables for this daemon.hash_seed; flows are hashed anew, and those that \
             were remembered are lost",
        ),
        None if !sets.is_empty() => {
            warn("building new tables; flows that were translated or remembered are lost");
        }
        None => {}
    }
    Ok(opened)
}

fn warn(loss: &str) {
    tracing::warn!("{loss}");
}

fn tell(opened: &Opened, planted: Planted, shares_translations: bool) {
    let copied = opened.copier.as_ref().map(Copier::copied).unwrap_or_default();
    tracing::info!(
        services = planted.services,
        without_room = planted.without_slots,
        flows = copied.flows,
        translations = copied.translations,
        shares_translations,
        refused = copied.refused,
        "the pinned tables are of other sizes (daemon.max_*) or of another version: new ones take \
         over their flows"
    );
}

impl Opened {
    fn go_on_from(
        &mut self,
        daemon: &Daemon,
        formers: Vec<Former>,
        shares_translations: bool,
    ) -> Result<(), LoadError> {
        if formers.is_empty() {
            return Ok(());
        }
        let to = (program::flows(&self.ebpf, &daemon.limits)?, Translations::of(&self.ebpf)?);
        let (now, _) = clock::now(&self.ebpf, Duration::ZERO).map_err(Box::new)?;
        let copier = Copier::new(formers, self.tables.arrays(), to, (now, shares_translations));
        self.copier = Some(copier);
        Ok(())
    }
}

/// Maps that can be read; of others it is told why not.
fn formers(sets: &[MapSet]) -> Vec<Former> {
    let open = |set: &MapSet| {
        let former = set.open();
        former
            .inspect_err(|error| {
                tracing::warn!(maps = %set.maps.display(), %error, "cannot be taken over");
            })
            .ok()
    };
    sets.iter().filter_map(open).collect()
}

fn adopt(daemon: &Daemon, loaded: Loaded) -> Option<Opened> {
    let Loaded { ebpf, arrays, counters, map_bytes, .. } = loaded;
    let mut tables = Tables::adopt(arrays, hash_key(daemon), &daemon.limits)?;
    tables.set_tunnels(Tunnels::new(daemon.gue_port, &daemon.tunnel_sources));
    Some(Opened { tables, counters, map_bytes, ebpf, is_new: false, copier: None })
}

fn hash_key(daemon: &Daemon) -> HashKey {
    HashKey::derive(daemon.hash_seed.reveal().as_bytes())
}
