//! The beginning of a translated flow: its backend, its port, its entries.

use super::{
    Tuple,
    entry::{Translation, delta, state},
    is_alive, link_back, meet, pairs, partner,
    timeout::is_closed,
};
use crate::{
    backend::{Backend, Stance},
    forward::Forward,
    frame::Frame,
    packet::Age,
    policy::Scheduler,
    send::Way,
    service::{TCP, UDP},
    tables::{NotAdded, Tables},
    uncommon::{Beside, Step, Work, choose, limits},
    verdict::Verdict,
};

/// Lets a flow begin, unless it has entries that serve it still.
#[inline(always)]
pub(crate) fn open<T: Tables>(work: &mut Work, beside: &Beside<'_, T>) -> Step {
    let tuple = Tuple::of_request(&work.seen.packet);
    if keeps(work, beside.tables, &tuple) {
        return Step::Translate;
    }
    match admitted(work, beside) {
        Ok(0) => choose::nobody(work, beside),
        Ok(_) if !matches!(beside.policy.scheduler(), Scheduler::Slot) => Step::Schedule,
        Ok(id) => {
            work.backend = id;
            Step::Bind
        }
        Err(verdict) => Step::Done(verdict),
    }
}

/// Looks at the way to the backend of a flow that begins.
#[inline(always)]
pub(crate) fn bind<T: Tables>(work: &mut Work, tables: &T) -> Step {
    if let Err(obstacle) = Way::find(tables, &work.seen.packet, &work.seen.tags, work.backend) {
        return meet(work, tables, &obstacle);
    }
    let Some(backend) = tables.backend(work.backend) else {
        return Verdict::NoBackend.into();
    };
    let tuple = Tuple::of_request(&work.seen.packet);
    let is_translated = matches!(backend.forward(), Some(Forward::Nat));
    if !is_translated || backend.is_ipv6() != tuple.is_ipv6() {
        return Verdict::NoBackend.into();
    }
    work.delta = delta(&tuple, &translated(&tuple, backend, 0));
    Step::TakePort
}

/// Adds the entry of a flow's requests.
#[inline(always)]
pub(crate) fn enter<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Step {
    let Beside { tables, policy, .. } = beside;
    let tables = *tables;
    let Some(backend) = tables.backend(work.backend) else { return Verdict::NoBackend.into() };
    let translated = translated(&Tuple::of_request(&work.seen.packet), backend, work.port);
    let is_counted = policy.scheduler().counts_flows();
    let state = if is_counted { state::COUNTED } else { 0 };
    let request = entry(work, tables, frame, translated, (work.delta, state));
    // Made once more, not kept: the kernel counts the stack of the whole chain of calls.
    let added = tables.add_translation(&Tuple::of_request(&work.seen.packet), &request);
    let Err(refused) = added else {
        if is_counted && let Some(load) = tables.load(work.backend) {
            load.begin();
        }
        return Step::Translate;
    };
    tables.remove_translation(&request.tuple.reversed());
    match refused {
        // Another processor has had a packet of the same flow: its entries count.
        NotAdded::Taken => Step::Translate,
        NotAdded::Full => Verdict::NatTableFull.into(),
    }
}

/// An entry of the packet's flow, whose client is where the packet comes from. `delta` is as
/// [`Translation::delta`], `state` as [`Translation::state`].
#[inline(always)]
pub(super) fn entry<F: Frame, T: Tables>(
    work: &Work,
    tables: &T,
    frame: &F,
    tuple: Tuple,
    (delta, state): (u16, u32),
) -> Translation {
    let generation = tables.backend(work.backend).map_or(0, Backend::generation);
    let entry = Translation::new(tuple, delta, work.found.service, (work.backend, generation));
    let entry = entry.seen_at(tables.now(), state);
    if let Some(link) = link_back(frame) {
        entry.set_client(link, tables.ingress());
    }
    entry
}

/// Whether the flow has both entries and they go on serving it; others are removed. A SYN that
/// comes again finds those that it made.
#[inline(always)]
fn keeps<T: Tables>(work: &Work, tables: &T, tuple: &Tuple) -> bool {
    let Some(entry) = tables.translation(tuple) else { return false };
    let answer = partner(tables, tuple, entry);
    let answered = answer.map_or(0, Translation::state);
    let begins = matches!(work.seen.packet.age, Age::Begins);
    let is_over = begins && (is_closed(entry.state(), answered) || is_unwanted(tables, entry));
    if let Some(answer) = answer
        && !is_over
        && is_alive(tables, entry)
    {
        if begins && entry.state() & state::CONNECTED == 0 {
            repeat(tables, answer);
        }
        return true;
    }
    let reversed = entry.tuple.reversed();
    tables.remove_translation(tuple);
    if answer.is_some() {
        tables.remove_translation(&reversed);
    }
    false
}

/// Takes in a SYN that comes again.
#[inline(always)]
fn repeat<T: Tables>(tables: &T, answer: &Translation) {
    answer.doubt_timing();
    if let Some(signals) = tables.signals(answer.backend) {
        signals.repeat();
    }
}

/// Whether a SYN of a known flow has to find another backend: its own takes no new flows, unless the
/// SYN is only one that comes again.
#[inline(always)]
fn is_unwanted<T: Tables>(tables: &T, entry: &Translation) -> bool {
    let Some(backend) = tables.backend(entry.backend) else { return true };
    match backend.stance() {
        Stance::Takes => false,
        Stance::Keeps => entry.state() & state::CONNECTED != 0,
        Stance::Resets => true,
    }
}

/// The backend of a new flow, if it may begin; 0 is none.
#[inline(always)]
fn admitted<T: Tables>(work: &Work, beside: &Beside<'_, T>) -> Result<u16, Verdict> {
    limits::admit(work, beside)?;
    Ok(choose::slot(work, beside.tables)?.current)
}

/// What packets of a flow get, with this source port.
#[inline(always)]
pub(super) fn translated(tuple: &Tuple, backend: &Backend, source: u16) -> Tuple {
    let port = match tuple.protocol_number() {
        TCP | UDP if backend.port() == 0 => tuple.destination_port(),
        TCP | UDP => backend.port(),
        _ => 0,
    };
    Tuple {
        source: pairs(*backend.source()),
        destination: pairs(*backend.destination()),
        ports: u32::from(source) | u32::from(port) << 16,
        protocol: tuple.protocol,
    }
}
