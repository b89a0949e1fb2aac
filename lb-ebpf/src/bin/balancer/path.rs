//! The program's ways: the common one in line, all others step by step behind function calls, so that
//! they neither take its registers nor its stack, see [`lb_common::uncommon`].

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::{
    Tables as _, Verdict,
    nat::MOST_STEPS,
    settings::feature,
    uncommon::{MOST_WALKS, Step, Work},
};
use lb_ebpf::XdpFrame;

use crate::{
    maps,
    settle::{self, Settled},
    tables::MapTables,
};

/// Balances the context's frame and names what XDP does with it.
#[inline(always)]
pub(crate) fn path(context: &XdpContext) -> u32 {
    let tables = MapTables::new(context);
    let mut frame = XdpFrame::new(context);
    match lb_common::common(&mut frame, &tables) {
        Some(verdict) => settle::count(context, Settled::of(verdict)),
        None => settle::count(context, Settled::from_number(longer(context, &tables))),
    }
}

/// The way of all packets that the common one leaves.
#[inline(always)]
fn longer(context: &XdpContext, tables: &MapTables<'_>) -> u32 {
    let translates =
        tables.settings().is_some_and(|settings| settings.features & feature::NAT != 0);
    let number = if translates { short(context.ctx) } else { STEPS };
    if number == STEPS { steps(context) } else { number }
}

/// Translates packets of known flows; see [`lb_common::nat::short`].
#[inline(never)]
extern "C" fn short(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    match lb_common::nat::short(&mut XdpFrame::new(&context), &MapTables::new(&context)) {
        Some(verdict) => Settled::of(verdict).number(),
        None => STEPS,
    }
}

/// In the place of a verdict: there is none yet.
const STEPS: u32 = 0x2_0000;

/// Steps as functions return them, beside what [`Settled::number`] returns.
const WALK: u32 = 0x1_0000;
const READ: u32 = 0x1_0001;
const ADMIT: u32 = 0x1_0002;
const CHOOSE: u32 = 0x1_0003;
const FORWARD: u32 = 0x1_0004;
const REQUEST: u32 = 0x1_0005;
const ANSWER: u32 = 0x1_0006;
const ECHO: u32 = 0x1_0007;
const TELL: u32 = 0x1_0008;
const RESET: u32 = 0x1_0009;
const OPEN: u32 = 0x1_000a;
const TAKE_PORT: u32 = 0x1_000b;
const ENTER: u32 = 0x1_000c;
const TRANSLATE: u32 = 0x1_000d;
const QUOTE: u32 = 0x1_000e;

#[inline(always)]
fn steps(context: &XdpContext) -> u32 {
    let mut next = begin(context.ctx);
    let mut walks = 0;
    while next == WALK && walks < MOST_WALKS {
        next = walk(context.ctx);
        walks += 1;
    }
    if next == READ {
        next = read(context.ctx);
    }
    if next == ADMIT {
        next = admit(context.ctx);
    }
    if next == CHOOSE {
        next = choose(context.ctx);
    }
    if next == FORWARD {
        next = forward(context.ctx);
    }
    if next == REQUEST {
        next = request(context.ctx);
    }
    if next == OPEN {
        next = open(context.ctx);
    }
    let mut tries = 0;
    while next == TAKE_PORT && tries < MOST_STEPS {
        next = take_port(context.ctx);
        tries += 1;
    }
    if next == TAKE_PORT {
        next = Settled::of(Verdict::NatPortsExhausted).number();
    }
    if next == ENTER {
        next = enter(context.ctx);
    }
    if next == TRANSLATE {
        next = translate(context.ctx);
    }
    if next == ANSWER {
        next = answer(context.ctx);
    }
    if next == QUOTE {
        next = quote(context.ctx);
    }
    if next == ECHO {
        next = echo(context.ctx);
    }
    if next == TELL {
        next = tell(context.ctx);
    }
    if next == RESET {
        next = reset(context.ctx);
    }
    next
}

/// Begins to write a packet down in `WORK`.
#[inline(never)]
extern "C" fn begin(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    let Some(place) = maps::WORK.get_ptr_mut(0) else { return NOT_READY };
    match Work::begin(&XdpFrame::new(&context)) {
        Ok(work) => {
            // SAFETY: a pointer from a map look-up, to this CPU's own value.
            unsafe { place.write(work) };
            number(work.first())
        }
        Err(verdict) => Settled::of(verdict).number(),
    }
}

macro_rules! step {
    ($name:ident, $step:ident) => {
        #[inline(never)]
        extern "C" fn $name(context: *mut xdp_md) -> u32 {
            take(context, Step::$step)
        }
    };
}

step!(walk, Walk);
step!(read, Read);
step!(admit, Admit);
step!(choose, Choose);
step!(forward, Forward);
step!(request, Request);
step!(open, Open);

/// By its name it is global, and the verifier looks at it once, not in every round of its loop.
// SAFETY: the object has no other symbol of this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_port(context: *mut xdp_md) -> u32 {
    take(context, Step::TakePort)
}

step!(enter, Enter);
step!(translate, Translate);
step!(answer, Answer);
step!(quote, Quote);
step!(echo, Echo);
step!(tell, Tell);
step!(reset, Reset);

#[inline(always)]
fn take(context: *mut xdp_md, step: Step) -> u32 {
    let context = XdpContext::new(context);
    let Some(work) = maps::WORK.get_ptr_mut(0) else { return NOT_READY };
    // SAFETY: a pointer from a map look-up, to this CPU's own value, which `begin` has written.
    let work = unsafe { &mut *work };
    let tables = MapTables::new(&context);
    let mut frame = XdpFrame::new(&context);
    number(work.take(step, &mut frame, &tables))
}

#[inline(always)]
const fn number(step: Step) -> u32 {
    match step {
        Step::Walk => WALK,
        Step::Read => READ,
        Step::Admit => ADMIT,
        Step::Choose => CHOOSE,
        Step::Forward => FORWARD,
        Step::Request => REQUEST,
        Step::Open => OPEN,
        Step::TakePort => TAKE_PORT,
        Step::Enter => ENTER,
        Step::Translate => TRANSLATE,
        Step::Answer => ANSWER,
        Step::Quote => QUOTE,
        Step::Echo => ECHO,
        Step::Tell => TELL,
        Step::Reset => RESET,
        Step::Done(verdict) => Settled::of(verdict).number(),
    }
}

const NOT_READY: u32 = Settled::of(Verdict::NotReady).number();
