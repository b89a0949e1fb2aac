//! lbd is stopped, and then its data plane.

use std::time::Duration;

use lb_tests::RigError;

use super::{Act, failure::expect_no_datagram_lost};
use crate::stage::Stage;

pub(super) const ACT: Act = Act {
    title: "lbd stops, and is detached",
    explanation: "SIGTERM ends lbd only. `lbctl detach` takes the program off the interface.",
    play,
};

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    let mark = stage.mark();
    stage.event("kill -TERM of lbd");
    if let Some(lbd) = stage.lab.lbd.take() {
        let status = lbd.stop(Duration::from_secs(5))?;
        stage.expect("lbd ends in good order", status.success(), &status.to_string());
    }
    stage.watch_requests(300)?;
    stage.expect_no_failures("without lbd", mark)?;
    expect_no_datagram_lost(stage, "without lbd", mark)?;

    stage.lab.web.clear();
    stage.lab.echo.clear();
    stage.event("lbctl detach");
    stage.lab.lbctl()?.run(&["detach"])?;
    // The kernel takes a program off some milliseconds after its last holder is gone.
    let gone = stage.until("the program to go", Duration::from_secs(1), |lab| {
        let link = lab.topology.balancer.run(&["ip", "link", "show", "dev", "eth0"]);
        let link = link.map_err(|error| error.to_string())?;
        if link.contains("xdp") { Err(link) } else { Ok(()) }
    });
    let seen = gone.as_ref().err().map_or("none".into(), ToString::to_string);
    stage.expect("no program is on the interface", gone.is_ok(), &seen);
    let pins = stage.lab.pins();
    let seen = if pins.is_empty() { "none".into() } else { pins.join(", ") };
    stage.expect("nothing is pinned", pins.is_empty(), &seen);
    Ok(())
}
