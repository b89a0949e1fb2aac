//! A backend joins.

use std::time::Duration;

use lb_tests::{RigError, address};

use super::{Act, spread::expect_shares};
use crate::{
    lab::{NEWCOMER, number_of},
    stage::Stage,
};

pub(super) const ACT: Act = Act {
    title: "a fifth backend joins",
    explanation: "It gets its share and nobody notices.",
    play,
};

fn play(stage: &mut Stage<'_>) -> Result<(), RigError> {
    let mark = stage.mark();
    stage.lab.start_server(NEWCOMER)?;
    stage.lab.prepare_backend(NEWCOMER)?;
    for index in 0..stage.lab.web.len() {
        let (family, service) = (stage.lab.web[index].family, stage.lab.web[index].service);
        let name = format!("{service}/{}", address::backend(family, NEWCOMER));
        stage.event(&format!("lbctl backend add {name} --weight 100"));
        stage.lab.lbctl()?.run(&["backend", "add", &name, "--weight", "100"])?;
    }
    stage.until("the new backend to be up", Duration::from_secs(5), |lab| {
        lab.all_are("up", |row| number_of(row.address) == Some(NEWCOMER))
    })?;
    let joined = stage.mark();
    stage.watch_requests(600)?;
    expect_shares(stage, joined)?;
    stage.expect_no_failures("while it joins", mark)
}
