//! Whether it is the backends that do not answer, or this load balancer that is cut off.

use std::collections::{BTreeMap, BTreeSet};

use super::Control;
use crate::{
    health::{Health, HealthState},
    model::BackendName,
};

/// What a check says of the network between this machine and the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Something came back, be it good or bad.
    Answer,
    /// Nothing at all came back.
    Silence,
    /// Neither can be told from it.
    Unknown,
}

/// Who was heard of at last. If nobody answers any more, of those that did, the trouble is taken for
/// this machine's own: what it knew before stays, as there is nobody better to send flows to.
#[derive(Clone, Debug, Default)]
pub(super) struct Uplink {
    /// Whether the daemon sees that no interface has a link.
    is_unplugged: bool,
    /// Backends whose last check heard nothing at all.
    silent: BTreeSet<BackendName>,
    /// Whether nobody is heard. It holds until somebody is.
    is_silent: bool,
    /// Backends that went down by silence since somebody was heard.
    fallen: BTreeSet<BackendName>,
    /// Somebody who was heard: as long as that is so nobody else need be asked.
    witness: Option<BackendName>,
    /// Whether too few are up to tell anything by them: until another one is, nobody need be asked,
    /// however many are silent.
    is_idle: bool,
}

impl Uplink {
    /// Takes in that a check heard nothing.
    fn hear_nothing(&mut self, backend: &BackendName) {
        self.silent.insert(backend.clone());
    }

    /// Takes in that a check heard something. True if that is the first for a while.
    fn hear(&mut self, backend: &BackendName) -> bool {
        self.silent.remove(backend);
        self.fallen.clear();
        self.witness.get_or_insert_with(|| backend.clone());
        std::mem::take(&mut self.is_silent)
    }

    /// Whether nobody is heard who was up when somebody was heard at last: two at least, since one
    /// that fails may fail alone.
    fn is_cut_off(&mut self, health: &BTreeMap<BackendName, Health>) -> bool {
        if self.is_unplugged || self.is_silent {
            return true;
        }
        if self.is_idle {
            return false;
        }
        let is_up =
            |name: &BackendName| health.get(name).is_some_and(|it| it.state() == HealthState::Up);
        let is_heard = |name: &BackendName| is_up(name) && !self.silent.contains(name);
        if self.witness.as_ref().is_some_and(is_heard) {
            return false;
        }
        self.witness = health.keys().find(|name| is_heard(name)).cloned();
        if self.witness.is_some() {
            return false;
        }
        let up = health.keys().filter(|name| is_up(name));
        let addresses: BTreeSet<_> = up.chain(&self.fallen).map(|name| name.address).collect();
        self.is_silent = addresses.len() > 1;
        self.is_idle = !self.is_silent;
        self.is_silent
    }

    /// Forgets backends that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&BackendName) -> bool) {
        self.is_idle = false;
        self.silent.retain(&is_there);
        self.fallen.retain(&is_there);
        self.witness = self.witness.take().filter(|witness| is_there(witness));
    }
}

impl Control {
    /// Whether failures are taken for this load balancer's own.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.uplink.is_unplugged || self.uplink.is_silent
    }

    /// Takes in whether no interface by which packets come in has a link; `now` is in milliseconds
    /// since 1970, here and below.
    pub(super) fn unplugged(&mut self, is_unplugged: bool, now: u64) {
        let was_cut_off = self.is_cut_off();
        self.uplink.is_unplugged = is_unplugged;
        match (was_cut_off, self.is_cut_off()) {
            (true, false) => self.forgive_failures(),
            (false, true) => self.reinstate_fallen(now),
            _ => {}
        }
    }

    /// Takes in what a check heard, and says whether a failure counts against the backend.
    pub(super) fn is_blamed(&mut self, backend: &BackendName, hearing: Hearing, now: u64) -> bool {
        match hearing {
            Hearing::Unknown => return true,
            Hearing::Silence => self.uplink.hear_nothing(backend),
            Hearing::Answer => {
                if self.uplink.hear(backend) && !self.uplink.is_unplugged {
                    self.forgive_failures();
                }
                return true;
            }
        }
        let was_cut_off = self.is_cut_off();
        let is_cut_off = self.uplink.is_cut_off(&self.health);
        if is_cut_off && !was_cut_off {
            self.reinstate_fallen(now);
        }
        !is_cut_off
    }

    /// Takes in that a backend is up that was not.
    pub(super) const fn came_up(&mut self) {
        self.uplink.is_idle = false;
    }

    /// Takes in that a backend went down since nothing at all was heard of it.
    pub(super) fn fell_silent(&mut self, backend: &BackendName) {
        self.uplink.fallen.insert(backend.clone());
    }

    /// Those who went down before it was clear that nobody is heard are as they were.
    fn reinstate_fallen(&mut self, now: u64) {
        for name in std::mem::take(&mut self.uplink.fallen) {
            if let Some(health) = self.health.get_mut(&name) {
                health.reinstate(now);
            }
        }
    }

    /// What failed while nobody was heard says nothing of the time after it.
    fn forgive_failures(&mut self) {
        self.health.values_mut().for_each(Health::forgive_failures);
    }
}
