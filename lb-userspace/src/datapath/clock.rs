//! The kernel's clock ticks (jiffies), in which flows and limits are counted and which user space
//! cannot read.

use std::time::Duration;

use aya::{
    Ebpf, TestRunOptions,
    programs::{ProgramError, TestRun as _, Xdp},
};
use lb_common::flow::tick;
use nix::time::{ClockId, clock_getres};

/// The program that answers with the kernel's tick count.
pub(super) const PROGRAM: &str = "clock";

/// Clock ticks in a second (`CONFIG_HZ`), which is the resolution of the clocks that they drive.
#[must_use]
pub(super) fn hz() -> u32 {
    /// What distributions choose, should the kernel not tell.
    const USUAL: u32 = 250;

    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from);
    let ticks = resolution.map_or(0.0, |tick| 1.0 / tick.as_secs_f64()).round();
    // The kernel's build allows 100 to 1000, on some machines from 24.
    if (24.0..=10_000.0).contains(&ticks) { ticks as u32 } else { USUAL }
}

/// The tick of the flow cache now, and how many ticks `time` has: at most half of the cache's range.
pub(super) fn now(ebpf: &Ebpf, time: Duration) -> Result<(u16, u16), ProgramError> {
    let tick = tick(hz());
    let ticks = time.as_secs_f64() * f64::from(hz()) / f64::from(1_u32 << tick);
    Ok(((jiffies(ebpf)? >> tick) as u16, ticks.min(f64::from(i16::MAX)) as u16))
}

fn jiffies(ebpf: &Ebpf) -> Result<u32, ProgramError> {
    let program: &Xdp = ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()?;
    // The shortest frame that the kernel takes.
    let options = TestRunOptions { data_in: Some(&[0; 14]), ..TestRunOptions::new() };
    Ok(program.test_run(options)?.return_value)
}
