//! The program's ways: the common one in line, all others step by step behind function calls, so that
//! they neither take its registers nor its stack, see [`lb_common::uncommon`].

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::{
    Tables as _, Verdict,
    nat::MOST_STEPS,
    settings::feature,
    uncommon::{MOST_COMPARES, MOST_WALKS, Step, Work},
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
    let features = tables.settings().map_or(0, |settings| settings.features);
    if features & feature::NAT != 0 {
        let number = translated(context.ctx);
        if number != STEPS {
            return number;
        }
    }
    if features & feature::REMEMBERED != 0 {
        let number = remembered(context.ctx);
        if number != STEPS {
            return number;
        }
    }
    steps(context)
}

/// Translates packets of known flows; see [`lb_common::nat::short`].
#[inline(never)]
extern "C" fn translated(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    of_short(lb_common::nat::short(&mut XdpFrame::new(&context), &MapTables::new(&context)))
}

/// Sends packets of remembered flows, and of those that begin in turn; see [`lb_common::remembered`].
#[inline(never)]
extern "C" fn remembered(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    of_short(lb_common::remembered(&mut XdpFrame::new(&context), &MapTables::new(&context)))
}

#[inline(always)]
const fn of_short(verdict: Option<Verdict>) -> u32 {
    match verdict {
        Some(verdict) => Settled::of(verdict).number(),
        None => STEPS,
    }
}

/// In the place of a verdict: there is none yet.
const STEPS: u32 = 0x2_0000;

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
    if next == REQUEST {
        next = request(context.ctx);
    }
    if next == OPEN {
        next = open(context.ctx);
    }
    if next == CHOOSE {
        next = choose(context.ctx);
    }
    if next == SCHEDULE {
        next = schedule(context.ctx);
    }
    let mut compared = 0;
    while next == COMPARE && compared < MOST_COMPARES {
        next = compare(context.ctx);
        compared += 1;
    }
    if next == ENLIST {
        next = enlist(context.ctx);
    }
    if next == FORWARD {
        next = forward(context.ctx);
    }
    if next == BIND {
        next = bind(context.ctx);
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

/// For each step a function, and a number by which functions name the next one, beside what
/// [`Settled::number`] returns.
macro_rules! steps {
    ($( $(#[$attribute:meta])* $function:ident, $number:ident = $value:literal: $step:ident; )+) => {
        $(
            const $number: u32 = $value;

            $(#[$attribute])*
            #[inline(never)]
            extern "C" fn $function(context: *mut xdp_md) -> u32 {
                take(context, Step::$step)
            }
        )+

        #[inline(always)]
        const fn number(step: Step) -> u32 {
            match step {
                $( Step::$step => $number, )+
                Step::Done(verdict) => Settled::of(verdict).number(),
            }
        }
    };
}

steps! {
    walk, WALK = 0x1_0000: Walk;
    read, READ = 0x1_0001: Read;
    admit, ADMIT = 0x1_0002: Admit;
    request, REQUEST = 0x1_0003: Request;
    open, OPEN = 0x1_0004: Open;
    choose, CHOOSE = 0x1_0005: Choose;
    schedule, SCHEDULE = 0x1_0006: Schedule;
    /// By its name it is global, and the verifier looks at it once, not in every round of its loop.
    // SAFETY: the object has no other symbol of this name.
    #[unsafe(no_mangle)]
    compare, COMPARE = 0x1_0007: Compare;
    enlist, ENLIST = 0x1_0008: Enlist;
    forward, FORWARD = 0x1_0009: Forward;
    bind, BIND = 0x1_000a: Bind;
    /// By its name it is global, and the verifier looks at it once, not in every round of its loop.
    // SAFETY: the object has no other symbol of this name.
    #[unsafe(no_mangle)]
    take_port, TAKE_PORT = 0x1_000b: TakePort;
    enter, ENTER = 0x1_000c: Enter;
    translate, TRANSLATE = 0x1_000d: Translate;
    answer, ANSWER = 0x1_000e: Answer;
    quote, QUOTE = 0x1_000f: Quote;
    echo, ECHO = 0x1_0010: Echo;
    tell, TELL = 0x1_0011: Tell;
    reset, RESET = 0x1_0012: Reset;
}

#[inline(always)]
fn take(context: *mut xdp_md, step: Step) -> u32 {
    // A global function must be given the context; where nobody reads it the compiler passes nothing.
    // SAFETY: the context is the program's own.
    let _ = unsafe { (&raw const (*context).data).read_volatile() };
    let context = XdpContext::new(context);
    let Some(work) = maps::WORK.get_ptr_mut(0) else { return NOT_READY };
    // SAFETY: a pointer from a map look-up, to this CPU's own value, which `begin` has written.
    let work = unsafe { &mut *work };
    let tables = MapTables::new(&context);
    let mut frame = XdpFrame::new(&context);
    number(work.take(step, &mut frame, &tables))
}

const NOT_READY: u32 = Settled::of(Verdict::NotReady).number();
