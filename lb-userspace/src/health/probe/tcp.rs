//! The checks that a backend accepts a TCP connection, and that it answers over one.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Budget,
    dial::{self, Connection},
};
use crate::{
    health::{CheckFailure, Endpoint, Step, failure::cut},
    model::{Exchange, Expect},
};

/// Most of an answer that is read in search of what is expected.
const MOST: usize = 64 * 1024;

/// Connects and parts again; returns how long the connection took.
pub(super) async fn connects(
    endpoint: &Endpoint,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    dial::connect(endpoint, budget).await.map(|_| budget.spent())
}

/// Connects, sends, and reads until what is expected has come.
pub(super) async fn answers(
    endpoint: &Endpoint,
    exchange: &Exchange,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let mut connection = dial::connect(endpoint, budget).await?;
    let sending = connection.write_all(&exchange.send);
    budget
        .step(Step::Answer, sending)
        .await?
        .map_err(|error| CheckFailure::broken(Step::Answer, &error))?;
    if let Some(expect) = &exchange.expect {
        await_answer(&mut connection, expect, budget).await?;
    }
    Ok(budget.spent())
}

async fn await_answer(
    connection: &mut Connection,
    expect: &Expect,
    budget: &Budget,
) -> Result<(), CheckFailure> {
    let mut answer = Vec::with_capacity(1024);
    loop {
        let room = (MOST - answer.len()) as u64;
        let mut rest = (&mut *connection).take(room);
        let step = if answer.is_empty() { Step::Answer } else { Step::Body };
        let read = match budget.step(step, rest.read_buf(&mut answer)).await {
            Ok(read) => read.map_err(|error| CheckFailure::broken(step, &error))?,
            Err(_) if !answer.is_empty() => return Err(unexpected(&answer, expect)),
            Err(stalled) => return Err(stalled),
        };
        if expect.is_met(&answer) {
            return Ok(());
        }
        if read == 0 && answer.is_empty() {
            let how = "the connection was closed".to_owned();
            return Err(CheckFailure::Broken(Step::Answer, how));
        }
        if read == 0 || answer.len() >= MOST || expect.is_lost(&answer) {
            return Err(unexpected(&answer, expect));
        }
    }
}

/// Says what came in place of what was expected.
pub(super) fn unexpected(answer: &[u8], expect: &Expect) -> CheckFailure {
    let came = match expect {
        Expect::Matches(_) => format!("\"{}\"", cut(answer)),
        Expect::Begins(_) => hex(answer),
    };
    CheckFailure::BadAnswer(format!(
        "answered {came}, expected {}",
        cut(expect.to_string().as_bytes())
    ))
}

fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;

    let mut text: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
