//! The kernel's clock of the flow cache, which counts ticks that user space cannot read.

use std::time::{Duration, Instant};

use aya::{
    Ebpf, TestRunOptions,
    programs::{ProgramError, TestRun as _, Xdp},
};
use lb_common::flow::TICK;

/// The program that answers with the kernel's tick count.
pub(super) const PROGRAM: &str = "clock";

/// Ticks and time when the clock was first read, to know how long a tick is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    jiffies: u32,
}

impl Clock {
    /// Reads the clock for the first time.
    pub(super) fn start(ebpf: &Ebpf) -> Result<Self, ProgramError> {
        Ok(Self { began: Instant::now(), jiffies: read(ebpf)? })
    }

    /// The tick now, and how many ticks `time` has: at most half of the cache's range.
    pub(super) fn now(&self, ebpf: &Ebpf, time: Duration) -> Result<(u16, u16), ProgramError> {
        let jiffies = read(ebpf)?;
        let passed = self.began.elapsed().as_secs_f64().max(1e-3);
        let per_second = f64::from(jiffies.wrapping_sub(self.jiffies)) / passed;
        let ticks = time.as_secs_f64() * per_second / f64::from(1_u32 << TICK);
        Ok(((jiffies >> TICK) as u16, ticks.min(f64::from(i16::MAX)) as u16))
    }
}

fn read(ebpf: &Ebpf) -> Result<u32, ProgramError> {
    let program: &Xdp = ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()?;
    // The shortest frame that the kernel takes.
    let options = TestRunOptions { data_in: Some(&[0; 14]), ..TestRunOptions::new() };
    Ok(program.test_run(options)?.return_value)
}
