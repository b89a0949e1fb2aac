//! Requests spread by weight.

use lb_tests::RigError;

use super::Act;
use crate::{expected::compare_shares, stage::Stage};

pub(super) const ACT: Act = Act {
    title: "requests spread by weight",
    explanation: "200 requests a second over IPv4, as many over IPv6, each over a connection of
                  its own. be4 has half the weight of the others.",
    play,
};

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    let mark = stage.mark();
    stage.watch_requests(800)?;
    expect_shares(stage, mark)?;
    stage.expect_no_failures("in quiet times", mark)
}

/// Expects that every backend's part of the requests since `mark` is that of its slots.
pub(super) fn expect_shares(stage: &mut Stage<'_>, mark: u64) -> Result<(), RigError> {
    let rows = stage.lab.backends()?;
    let seen = stage.lab.web_since(mark)?;
    let services: Vec<_> = stage.lab.web.iter().map(|web| (web.family, web.service)).collect();
    for ((family, service), seen) in services.into_iter().zip(&seen) {
        let (held, words) = compare_shares(service, &rows, seen);
        stage.expect(&format!("shares follow the weights over {family}"), held, &words);
    }
    Ok(())
}
