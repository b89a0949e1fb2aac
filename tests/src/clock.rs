//! One clock for all processes of a test.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds of the machine's monotonic clock.
///
/// Unlike `Instant` it can be written to another process and compared there; unlike the wall
/// clock nobody sets it.
#[must_use]
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every kernel has this clock");
    u64::try_from(now.tv_sec() * 1000 + now.tv_nsec() / 1_000_000).expect("it counts from boot")
}
