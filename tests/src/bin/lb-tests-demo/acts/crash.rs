//! lbd crashes and starts again.

use std::time::Duration;

use lb_tests::RigError;

use super::{Act, failure::expect_no_datagram_lost, spread::expect_shares};
use crate::{
    lab::{NEWCOMER, number_of},
    stage::Stage,
};

pub(super) const ACT: Act = Act {
    title: "lbd crashes, and starts again",
    explanation: "The tables and the program live in the kernel: packets do not need lbd.",
    play,
};

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    let mark = stage.mark();
    stage.event("kill -9 of lbd");
    drop(stage.lab.lbd.take());
    stage.watch_requests(300)?;
    stage.expect_no_failures("without lbd", mark)?;

    stage.event("lbd starts again");
    let restarted = stage.mark();
    stage.lab.start_lbd()?;
    stage.until("all backends to be up", Duration::from_secs(10), |lab| {
        lab.all_are("up", |_| true)
    })?;
    let kept = stage.lab.all_are("up", |row| number_of(row.address) == Some(NEWCOMER));
    let seen = kept.clone().err().unwrap_or_else(|| "it is up".into());
    stage.expect("the backend that lbctl added is still there", kept.is_ok(), &seen);
    stage.watch_requests(600)?;
    expect_shares(stage, restarted)?;
    stage.expect_no_failures("while it starts", restarted)?;
    expect_no_datagram_lost(stage, "in all this time", mark)
}
