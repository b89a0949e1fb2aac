//! The way of all packets that the common one leaves: other shapes, services with policies, answers
//! of backends, and whatever stands in a packet's way.
//!
//! A way of steps, each a function of [`Work`]. In the kernel each is a function of its own and the
//! work lies in a map: what the verifier knows of values ends there, so that it follows each step
//! from one state only. In one piece the ways multiply, to millions of instructions.

mod admit;
pub(crate) mod choose;
pub(crate) mod forward;
pub(crate) mod limits;
pub(crate) mod remembered;
mod schedule;

use crate::{
    find::Found,
    frame::Frame,
    nat,
    packet::{Outline, Seen, extension, options, outline, seen},
    policy::Policy,
    reply::{self, Reply, ReplyKind},
    service::TCP,
    settings::Settings,
    tables::Tables,
    verdict::Verdict,
};
use schedule::Best;

pub use schedule::MOST_COMPARES;

/// What is known of a packet on its way.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Where the packet's headers are.
    pub outline: Outline,
    /// The packet.
    pub seen: Seen,
    /// The service that it is for.
    pub found: Found,
    /// Hash of its flow.
    pub flow: u64,
    /// Its backend.
    pub backend: u16,
    /// The other backend that may have its flow; 0 is nobody.
    pub other: u16,
    /// The best of the backends that were compared for its flow.
    best: Best,
    /// The port that a translated flow shows to its backend.
    pub port: u16,
    /// See [`crate::nat::Translation::delta`].
    pub delta: u16,
    /// Ports that were tried for the flow.
    pub probes: u32,
    /// Whether the table of translated flows had no room for one of them.
    pub is_full: bool,
    /// What its sender is told.
    pub reply: Reply,
}

/// Most options, or extension headers, of a packet: an option has a byte at least, and an IPv4
/// header 40 for them.
pub const MOST_WALKS: u32 = 40;

/// What comes next for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Walk over an option or extension header.
    Walk,
    /// Read its transport header.
    Read,
    /// Find its service, and whether that takes it.
    Admit,
    /// Translate it for its backend, if its flow is known.
    Request,
    /// Let a translated flow begin with it.
    Open,
    /// Choose its backend.
    Choose,
    /// Choose the backend of the flow that begins with it.
    Schedule,
    /// Compare backends for that.
    Compare,
    /// Remember the flow that begins with it.
    Enlist,
    /// Send it to its backend.
    Forward,
    /// Look at the way to the backend of the translated flow that begins with it.
    Bind,
    /// Try a port that the flow may show to the backend.
    TakePort,
    /// Enter the flow into the table.
    Enter,
    /// Translate it for the backend of the flow that has just begun.
    Translate,
    /// Translate it for its client, if it is of a translated flow.
    Answer,
    /// Translate an ICMP error with what it quotes.
    Quote,
    /// Send an echo request back as its reply.
    Echo,
    /// Tell its sender by ICMP what became of it.
    Tell,
    /// Refuse it by a TCP reset.
    Reset,
    /// Nothing.
    Done(Verdict),
}

impl From<Verdict> for Step {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self::Done(verdict)
    }
}

/// Balances one frame of any kind. It knows all that the common way knows.
pub fn uncommon<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let mut work = match Work::begin(frame) {
        Ok(work) => work,
        Err(verdict) => return verdict,
    };
    let mut step = work.first();
    loop {
        if let Step::Done(verdict) = step {
            return verdict;
        }
        step = work.take(step, frame, tables);
    }
}

impl Work {
    /// Begins the way of a packet, or says why it passes.
    #[inline(always)]
    pub fn begin<F: Frame>(frame: &F) -> Result<Self, Verdict> {
        Ok(Self {
            outline: outline::read(frame)?,
            seen: Seen::NONE,
            found: Found::NONE,
            flow: 0,
            backend: 0,
            other: 0,
            best: Best::NONE,
            port: 0,
            delta: 0,
            probes: 0,
            is_full: false,
            reply: Reply::NONE,
        })
    }

    /// The first step.
    #[inline(always)]
    #[must_use]
    pub fn first(&self) -> Step {
        if self.outline.has_more_headers() { Step::Walk } else { Step::Read }
    }

    /// Takes a step. Steps follow each other in the order of [`Step`]; none comes twice but
    /// [`Step::Walk`], which comes [`MOST_WALKS`] times at most, [`Step::Compare`], which comes
    /// [`MOST_COMPARES`] times at most, and [`Step::TakePort`], which comes [`nat::MOST_STEPS`] times
    /// at most.
    #[inline(always)]
    pub fn take<F: Frame, T: Tables>(&mut self, step: Step, frame: &mut F, tables: &T) -> Step {
        let Some(settings) = tables.settings() else {
            return Step::Done(Verdict::NotReady);
        };
        // Only in the steps that ask for it: to the compiler a look-up may have effects, so it would
        // stay where nobody uses what it finds.
        let policy = self.found.table.policy();
        let beside = || {
            let policy = tables.policy(policy).unwrap_or(&Policy::NONE);
            Beside { tables, settings, policy }
        };
        match step {
            Step::Walk => self.walk(frame),
            Step::Read => self.read(frame),
            Step::Admit => admit::admit(self, frame, tables, settings),
            Step::Request => nat::request(self, frame, &beside()),
            Step::Open => nat::open(self, &beside()),
            Step::Choose => choose::choose(self, frame, &beside()),
            Step::Schedule => schedule::schedule(self, &beside()),
            Step::Compare => schedule::compare(self, &beside()),
            Step::Enlist => remembered::enlist(self, &beside()),
            Step::Forward => forward::forward(self, frame, tables),
            Step::Bind => nat::bind(self, tables),
            Step::TakePort => nat::take_port(self, frame, &beside()),
            Step::Enter => nat::enter(self, frame, &beside()),
            Step::Translate => nat::known(self, frame, tables),
            Step::Answer => nat::answer(self, frame, tables, settings),
            Step::Quote => nat::quote(self, frame, tables),
            Step::Echo => Step::Done(reply::echo(self, frame, tables, settings)),
            Step::Tell => Step::Done(reply::tell(self, frame, tables, settings)),
            Step::Reset => Step::Done(reply::reset(self, frame, tables, settings)),
            Step::Done(_) => step,
        }
    }

    #[inline(always)]
    fn walk<F: Frame>(&mut self, frame: &F) -> Step {
        let walked = if self.outline.ipv6 {
            extension::walk(frame, &mut self.outline)
        } else {
            Ok(options::walk(frame, &mut self.outline))
        };
        match walked {
            Ok(true) => Step::Walk,
            Ok(false) => Step::Read,
            Err(verdict) => Step::Done(verdict),
        }
    }

    #[inline(always)]
    fn read<F: Frame>(&mut self, frame: &F) -> Step {
        match seen::read(frame, &self.outline) {
            Ok(seen) => {
                self.seen = seen;
                Step::Admit
            }
            Err(verdict) => Step::Done(verdict),
        }
    }

    /// What is wrong with the packet, now that somebody takes it.
    #[inline(always)]
    pub(crate) fn flaw<F: Frame>(&self, frame: &F) -> Option<Verdict> {
        if self.seen.flaw.is_some() {
            return self.seen.flaw;
        }
        (!self.seen.packet.is_well_formed(frame)).then_some(Verdict::Malformed)
    }

    /// What comes of an obstacle that the sender may be told of.
    #[inline(always)]
    pub(crate) const fn tell(&mut self, reply: Reply) -> Step {
        self.reply = reply;
        match reply.kind {
            ReplyKind::Echo => Step::Echo,
            ReplyKind::Refusal | ReplyKind::FlowOver if self.outline.protocol == TCP => Step::Reset,
            _ => Step::Tell,
        }
    }
}

/// The tables beside a packet of a service.
pub(crate) struct Beside<'a, T> {
    pub(crate) tables: &'a T,
    pub(crate) settings: &'a Settings,
    pub(crate) policy: &'a Policy,
}
