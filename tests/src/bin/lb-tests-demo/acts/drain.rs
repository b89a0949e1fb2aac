//! A backend is drained while it serves a long download.

use std::time::Duration;

use lb_tests::{Download, RigError, clock, report::DownloadLine};

use super::Act;
use crate::{lab::service_address, stage::Stage};

pub(super) const ACT: Act = Act {
    title: "a backend is drained during a download",
    explanation: "A drained backend keeps its connections and gets no new ones.",
    play,
};

const BYTES: u64 = 4_000_000;
const SECONDS: u32 = 4;
/// New connections may reach the backend for so long after the command has returned.
const SETTLING_MS: u64 = 200;

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    let mark = stage.mark();
    let mut drained = Vec::new();
    for index in 0..stage.lab.web.len() {
        let (family, service) = (stage.lab.web[index].family, stage.lab.web[index].service);
        let target = service_address(family);
        let download = Download::start(&stage.lab.topology.client, target, BYTES, SECONDS)?;
        let name = backend_name(stage, service, download.backend())?;
        stage.event(&format!(
            "{} serves a download over {family}: lbctl backend drain {name}",
            download.backend(),
        ));
        stage.lab.lbctl()?.run(&["backend", "drain", &name])?;
        drained.push((index, download, name, clock::now_ms()));
    }
    stage.until("the downloads to end", Duration::from_secs(15), |_| {
        let running = drained.iter().filter(|(_, download, ..)| download.is_running()).count();
        if running == 0 { Ok(()) } else { Err(format!("{running} run")) }
    })?;
    for (index, download, name, since) in drained {
        let backend = download.backend().to_owned();
        let end = download.finish(Duration::from_secs(1))?;
        let (complete, seen) = match end {
            DownloadLine::Complete { bytes } => (bytes == BYTES, format!("{bytes} bytes")),
            broken => (false, format!("{broken:?}")),
        };
        let what = format!("the download from {backend} is complete, every byte right");
        stage.expect(&what, complete, &seen);

        let all = stage.lab.web[index].load.settle(mark)?;
        let last = all.served.get(&backend).map_or(0, |served| served.last_started_ms);
        let after = last.saturating_sub(since);
        let what = format!("{backend} gets no new request {SETTLING_MS} ms after the command");
        let seen = if last < since {
            "the last started before it returned".into()
        } else {
            format!("the last started {after} ms after it returned")
        };
        stage.expect(&what, after <= SETTLING_MS, &seen);
        stage.lab.lbctl()?.run(&["backend", "ready", &name])?;
    }
    stage.event("lbctl backend ready, for both");
    stage.until("all backends to be up", Duration::from_secs(5), |lab| {
        lab.all_are("up", |_| true)
    })?;
    stage.expect_no_failures("in all this time", mark)
}

/// SERVICE/ADDRESS of the backend whose server has this name.
fn backend_name(stage: &Stage<'_>, service: &str, server: &str) -> Result<String, RigError> {
    let number = server.trim_start_matches("be").parse().ok();
    let rows = stage.lab.backends()?;
    rows.iter()
        .find(|row| row.service == service && crate::lab::number_of(row.address) == number)
        .map(|row| format!("{service}/{}", row.address))
        .ok_or_else(|| RigError::Answer {
            program: "lbctl",
            problem: format!("{server} is not among the backends of {service}"),
            answer: format!("{rows:?}"),
        })
}
