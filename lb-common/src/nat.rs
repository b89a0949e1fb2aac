//! Translation of addresses and ports, in both directions.
//!
//! A client's packet `client:port -> service:port` becomes `ours:chosen -> backend:port`; what the
//! backend answers comes back here and is translated back. Each flow has two entries in
//! `TRANSLATIONS`, one a direction, so that any packet of it takes one look-up: what a packet has
//! is the key, what it gets is in the value.
//!
//! The entry of the answers is made first. Its key holds the chosen port, so that adding it *is*
//! the choice: no two flows can get the same. Entries are removed when their flow begins anew, and,
//! once they have been silent for [`timeout::timeout`], by the daemon or by a flow that wants their
//! port.

mod entry;
mod open;
mod port;
mod quote;
mod rewrite;
mod short;
mod ticks;
pub mod timeout;
mod tuple;

use crate::{
    flow, fragment,
    frame::{Ethernet, Frame},
    packet::{Age, Kind, Packet, RST},
    reply::Reply,
    send::{self, Obstacle, Way},
    service::TCP,
    settings::Settings,
    signals::Signals,
    tables::Tables,
    uncommon::{Beside, Step, Work, choose, forward},
    verdict::Verdict,
};

pub use entry::{Translation, state};
pub(crate) use open::{bind, enter, open};
pub use port::MOST_STEPS;
pub(crate) use port::take_port;
pub(crate) use quote::quote;
pub use short::short;
pub use ticks::Ticks;
pub use tuple::{Tuple, pairs, words};

/// The ports that translated flows show to backends where a policy does not say: below those that
/// Linux takes for connections of its own (`net.ipv4.ip_local_port_range`), so that health checks
/// and flows are never mistaken for each other. First and last, `first | last << 16`.
pub const DEFAULT_PORTS: u32 = 1024 | 32_767 << 16;

/// Takes a client's packet to a service: translates one of a known flow, leaves one that may begin
/// a flow to [`open`].
#[inline(always)]
pub(crate) fn request<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &mut F,
    beside: &Beside<'_, T>,
) -> Step {
    if matches!(work.seen.kind, Kind::Error { .. }) {
        return Step::Quote;
    }
    let is_segment = work.seen.packet.key.protocol() == TCP;
    let begins = matches!(work.seen.packet.age, Age::Begins);
    let tuple = Tuple::of_request(&work.seen.packet);
    match beside.tables.translation(&tuple) {
        // A connection that was closed may begin anew under the same ports.
        Some(_) if begins => Step::Open,
        Some(entry) if !is_alive(beside.tables, entry) && is_segment => {
            choose::nobody(work, beside)
        }
        Some(entry)
            if is_alive(beside.tables, entry) && follow(frame, beside.tables, &tuple, entry) =>
        {
            translate(work, frame, beside.tables, entry)
        }
        _ if is_segment && !begins => Step::Done(Verdict::NatUnknownFlow),
        _ if matches!(work.seen.kind, Kind::LaterFragment(_)) => {
            Step::Done(Verdict::FragmentUnmatched)
        }
        _ => Step::Open,
    }
}

/// Translates a client's packet whose flow has just begun, or begun again.
#[inline(always)]
pub(crate) fn known<F: Frame, T: Tables>(work: &mut Work, frame: &mut F, tables: &T) -> Step {
    let tuple = Tuple::of_request(&work.seen.packet);
    match tables.translation(&tuple) {
        Some(entry) if follow(frame, tables, &tuple, entry) => {
            translate(work, frame, tables, entry)
        }
        _ => Step::Done(Verdict::NatUnknownFlow),
    }
}

/// Translates a backend's packet to its client, if it is of a translated flow.
#[inline(always)]
pub(crate) fn answer<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &mut F,
    tables: &T,
    settings: &Settings,
) -> Step {
    let missing = match work.seen.kind {
        Kind::Error { .. } => return Step::Quote,
        Kind::EchoReply => Verdict::NotTransport,
        _ => Verdict::NotService,
    };
    let tuple = Tuple::of_answer(&work.seen.packet);
    let Some(entry) = tables.translation(&tuple) else { return Step::Done(missing) };
    if let Some(flaw) = work.flaw(frame) {
        return Step::Done(flaw);
    }
    if work.seen.packet.hop_limit <= 1 {
        return work.tell(Reply::HOP_LIMIT);
    }
    if let Kind::FirstFragment(id) = work.seen.kind {
        fragment::remember(tables, settings, &work.seen, id);
    }
    let (began, bits) = (entry.seen(), state_bits(work, frame));
    entry.witness(tables.now(), bits);
    take_first(tables, entry, began, work.seen.packet.flags);
    let link = entry.client_link();
    if rewrite::rewrite(frame, &work.seen, &entry.tuple, entry.delta(), link).is_none() {
        return Step::Done(Verdict::Malformed);
    }
    Step::Done(send::leave(tables, entry.client_interface()))
}

/// Translates a client's packet by the entry of its flow.
#[inline(always)]
fn translate<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &mut F,
    tables: &T,
    entry: &Translation,
) -> Step {
    work.backend = entry.backend;
    let way = match Way::find(tables, &work.seen.packet, &work.seen.tags, entry.backend) {
        Ok(way) => way,
        Err(obstacle) => return meet(work, tables, &obstacle),
    };
    witness(tables, entry, state_bits(work, frame));
    let link = way.backend.link();
    if rewrite::rewrite(frame, &work.seen, &entry.tuple, entry.delta(), link).is_none() {
        return Step::Done(Verdict::Malformed);
    }
    send::count(tables, &work.seen.packet, work.found.service, entry.backend);
    Step::Done(send::leave(tables, way.interface))
}

/// Keeps in mind what a client's packet says of its flow.
#[inline(always)]
fn witness<T: Tables>(tables: &T, entry: &Translation, bits: u32) {
    entry.witness(tables.now(), bits);
    if entry.end_counting(bits)
        && let Some(load) = tables.load(entry.backend)
    {
        load.end();
    }
}

/// Takes in the first answer to a flow, where somebody asks. `began` is the tick of the flow's first
/// packet, `flags` are the answer's: that nobody listens takes no time.
#[inline(always)]
fn take_first<T: Tables>(tables: &T, entry: &Translation, began: u16, flags: u8) {
    let state = entry.state();
    if state & state::TIMED == 0 {
        return;
    }
    let Some(latency) = entry.end_timing(tables.nanoseconds()) else { return };
    // The clock of the first packet comes round after a second.
    let is_late = flow::idle(tables.now(), began) > 1;
    if let Some(signals) = signals(tables, entry) {
        // Not of a SYN that came again, Karn's rule: RFC 6298 section 3.
        let is_certain = !is_late && state & state::REPEATED == 0;
        signals.answer(flags, is_certain.then_some(latency));
    }
    if flags & RST == 0
        && let Some(load) = tables.load(entry.backend)
    {
        load.answered(if is_late { u32::MAX } else { latency });
    }
}

/// The counters of an entry's backend, if that is still the one that its flow began with.
#[inline(always)]
fn signals<'a, T: Tables>(tables: &'a T, entry: &Translation) -> Option<&'a Signals> {
    let backend = tables.backend(entry.backend)?;
    if backend.generation() == entry.generation { tables.signals(entry.backend) } else { None }
}

/// What becomes of a packet that cannot be sent. One for this machine would need the translation,
/// and its answers would not come by here.
#[inline(always)]
fn meet<T: Tables>(work: &mut Work, tables: &T, obstacle: &Obstacle) -> Step {
    if matches!(obstacle, Obstacle::Here) {
        return Step::Done(Verdict::NoBackend);
    }
    forward::meet(work, tables, obstacle)
}

/// Whether an entry's backend is still the one that its flow began with: by its address too, since
/// generations come round after 65,536.
#[inline(always)]
fn is_alive<T: Tables>(tables: &T, entry: &Translation) -> bool {
    tables.backend(entry.backend).is_some_and(|backend| {
        backend.generation() == entry.generation
            && backend.forward().is_some()
            && pairs(*backend.destination()) == entry.tuple.destination
    })
}

/// Keeps in mind how the client is reached: by where its packets come from. That changes when
/// another router takes over. Once a tick this finds out whether the flow's answers are known
/// still; false if they are not.
#[inline(always)]
fn follow<F: Frame, T: Tables>(frame: &F, tables: &T, tuple: &Tuple, entry: &Translation) -> bool {
    let Some(link) = link_back(frame) else { return false };
    let interface = tables.ingress();
    let stays = entry.client_link() == link && entry.client_interface() == interface;
    if stays && entry.seen() == tables.now() {
        return true;
    }
    let Some(answer) = partner(tables, tuple, entry) else { return false };
    if !stays {
        entry.set_client(link, interface);
        answer.set_client(link, interface);
    }
    true
}

/// The entry of a flow's answers, if there is one and no other flow has taken its place.
#[inline(always)]
fn partner<'a, T: Tables>(
    tables: &'a T,
    tuple: &Tuple,
    entry: &Translation,
) -> Option<&'a Translation> {
    let answer = tables.translation(&entry.tuple.reversed())?;
    (answer.tuple == tuple.reversed()).then_some(answer)
}

/// The hardware addresses of frames that go back to where a frame came from.
#[inline(always)]
fn link_back<F: Frame>(frame: &F) -> Option<[u8; 12]> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = frame.header::<Ethernet>(0)?.link;
    Some([g, h, i, j, k, l, a, b, c, d, e, f])
}

/// What a packet says of its flow's state, as bits of [`state`].
#[inline(always)]
fn state_bits<F: Frame>(work: &Work, frame: &F) -> u32 {
    let has_flags =
        work.seen.packet.key.protocol() == TCP && !matches!(work.seen.kind, Kind::LaterFragment(_));
    flag_bits(frame, &work.seen.packet, has_flags)
}

/// The same of a packet that has TCP's flags, or has not.
#[inline(always)]
fn flag_bits<F: Frame>(frame: &F, packet: &Packet, has_flags: bool) -> u32 {
    if !has_flags {
        return state::SEEN;
    }
    let flags = frame.header::<[u8; 2]>(packet.layout.transport() + 12);
    flags.map_or(state::SEEN, |[_, flags]| state::of_flags(*flags))
}

#[cfg(test)]
mod tests;
