//! lbd starts from a file.

use std::time::{Duration, Instant};

use lb_tests::RigError;

use super::Act;
use crate::{lab::NEWCOMER, stage::Stage};

pub(super) const ACT: Act = Act {
    title: "lbd starts and checks its backends",
    explanation: "Four services: HTTP and a UDP echo, over IPv4 and IPv6. Four backends each.",
    play,
};

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    (1..NEWCOMER).try_for_each(|number| stage.lab.prepare_backend(number))?;
    let config = stage.lab.forward.config();
    stage.event(&format!("lbd --config {}", config.display()));
    let started = Instant::now();
    stage.lab.start_lbd()?;
    stage.until("all backends to be up", PATIENCE, |lab| lab.all_are("up", |_| true))?;
    let seen = format!("after {:.1} s", started.elapsed().as_secs_f64());
    stage.expect("all backends are up", true, &seen);
    stage.lab.start_clients()
}

const PATIENCE: Duration = Duration::from_secs(10);
