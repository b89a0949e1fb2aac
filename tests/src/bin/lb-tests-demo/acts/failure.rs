//! A backend dies and comes back.

use std::time::{Duration, Instant};

use lb_tests::{
    RigError, address,
    report::{Failure, Reason},
};

use super::Act;
use crate::{
    lab::{number_of, service_address},
    stage::Stage,
};

pub(super) const ACT: Act = Act {
    title: "a backend dies, and returns",
    explanation: "Requests that meet the dead backend before the checks notice may fail. No other
                  request may.",
    play,
};

const VICTIM: u8 = 3;
/// interval x fall + timeout + 100 ms, see tests/demo/*.toml.
const PROMISE: Duration = Duration::from_millis(3 * 500 + 300 + 100);
/// What asking lbctl again and again adds to what is measured.
const MEASURING: Duration = Duration::from_millis(150);

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    let quiet = stage.mark();
    stage.watch_requests(100)?;
    stage.expect_no_failures("before", quiet)?;

    stage.event(&format!("kill -9 of be{VICTIM}'s server"));
    stage.mark();
    let since = Instant::now();
    drop(stage.lab.servers.remove(&VICTIM));
    stage.until("the dead backend to be ejected", Duration::from_secs(5), |lab| {
        lab.all_are("down", |row| number_of(row.address) == Some(VICTIM))
    })?;
    let (waited, ejected) = (since.elapsed(), stage.mark());
    let seen = format!("{:.2} s; promised {:.2} s", waited.as_secs_f64(), PROMISE.as_secs_f64());
    stage.expect("it is ejected in time", waited <= PROMISE + MEASURING, &seen);
    stage.watch_requests(300)?;
    stage.expect_no_failures("once it is ejected", ejected)?;
    expect_no_datagram_lost(stage, "once it is ejected", ejected)?;

    stage.event(&format!("be{VICTIM}'s server starts again"));
    let returned = stage.mark();
    stage.lab.start_server(VICTIM)?;
    stage.until("the backend to return", Duration::from_secs(5), |lab| {
        lab.all_are("up", |row| number_of(row.address) == Some(VICTIM))
    })?;
    stage.watch_requests(200)?;
    let name = format!("be{VICTIM}");
    let again: Vec<_> =
        stage.lab.web_since(returned)?.iter().map(|seen| seen.share(&name)).collect();
    let seen = again.iter().map(|share| format!("{:.1} %", share * 100.0)).collect::<Vec<_>>();
    let served = again.iter().all(|share| *share > 0.0);
    stage.expect("it serves again", served, &seen.join(" and "));
    stage.expect_no_failures("while it returns", returned)?;
    expect_only_the_victims(stage, quiet, ejected)
}

/// A backend that returns gets exactly its old slots, so a look-up now tells whom a failed
/// request had been for.
fn expect_only_the_victims(stage: &mut Stage<'_>, from: u64, to: u64) -> Result<(), RigError> {
    let (mut of_victim, mut others) = (0, Vec::new());
    for web in &stage.lab.web {
        let all = web.load.settle(from)?;
        for failure in all.failed.iter().filter(|failure| failure.started_ms < to) {
            let target = service_address(web.family);
            let backend = stage.lab.lbctl()?.lookup(failure.local, target)?.new_flows;
            if backend == address::backend(web.family, VICTIM) && was_cut_off(failure) {
                of_victim += 1;
            } else {
                others.push(format!("{failure:?} at {backend}"));
            }
        }
    }
    let mut seen = format!("{of_victim} refused or reset by it, {} others failed", others.len());
    if let Some(first) = others.first() {
        seen.push_str(&format!(", the first: {first}"));
    }
    stage.expect("only requests to the dead backend failed", others.is_empty(), &seen);
    Ok(())
}

/// How a request fails whose server dies; a timeout would mean that packets got lost.
fn was_cut_off(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Refused | Reason::Reset | Reason::Truncated)
}

/// Expects that every numbered datagram since `mark` is echoed.
pub(super) fn expect_no_datagram_lost(
    stage: &mut Stage<'_>,
    when: &str,
    mark: u64,
) -> Result<(), RigError> {
    let (mut echoed, mut lost) = (0, Vec::new());
    for echo in &stage.lab.echo {
        let all = echo.load.settle(mark)?;
        echoed += all.answered();
        lost.extend(all.failed.into_iter().map(|failure| format!("{}: {failure:?}", echo.service)));
    }
    let mut seen = format!("{echoed} echoed, {} lost", lost.len());
    if let Some(first) = lost.first() {
        seen.push_str(&format!(", the first: {first}"));
    }
    let text = format!("no datagram is lost {when}");
    stage.expect(&text, lost.is_empty() && echoed > 0, &seen);
    Ok(())
}
