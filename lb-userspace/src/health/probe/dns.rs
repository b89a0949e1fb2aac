//! The check that a name server answers.

use std::{fmt::Write as _, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::Record,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Budget, dial, udp};
use crate::{
    health::{CheckFailure, Endpoint, Step, failure::cut},
    model::{DnsProbe, DnsQuestion, DnsTransport, Pattern},
};

/// Asks, and looks at the answer; returns how long that took.
///
/// An answer that is cut short is one, unless its text matters: then the question is put once more
/// over TCP, as RFC 7766 wants it, within the same time.
pub(super) async fn check(
    endpoint: &Endpoint,
    probe: &DnsProbe,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    let question = &probe.question;
    let answer = match probe.transport {
        DnsTransport::Tcp => ask_by_connection(endpoint, question, budget).await?,
        DnsTransport::Udp => {
            let answer = ask_by_datagram(endpoint, question, budget).await?;
            if answer.metadata.truncation && probe.answer.is_some() {
                ask_by_connection(endpoint, question, budget).await?
            } else {
                answer
            }
        }
    };
    judge(&answer, probe.answer.as_ref())?;
    Ok(budget.spent())
}

async fn ask_by_datagram(
    endpoint: &Endpoint,
    question: &DnsQuestion,
    budget: &Budget,
) -> Result<Message, CheckFailure> {
    let asked = ask(question);
    let socket = udp::open(endpoint, budget).await?;
    let sent = socket.send(&encode(&asked)?).await;
    sent.map_err(|error| CheckFailure::from_connect(&error))?;
    let mut datagram = vec![0; MOST];
    let mut strange = None;
    loop {
        let Ok(received) = budget.take(socket.recv(&mut datagram)).await else {
            return Err(strange.unwrap_or(CheckFailure::NoAnswer(budget.limit())));
        };
        let received = &datagram[..received.map_err(|error| udp::failed(&error))?];
        match decode(received) {
            Ok(answer) if belongs(&answer, &asked) => return Ok(answer),
            Ok(_) => strange = Some(bad("what came answers another question")),
            Err(failure) => strange = Some(failure),
        }
    }
}

async fn ask_by_connection(
    endpoint: &Endpoint,
    question: &DnsQuestion,
    budget: &Budget,
) -> Result<Message, CheckFailure> {
    let asked = ask(question);
    let message = encode(&asked)?;
    let mut connection = dial::connect(endpoint, budget).await?;
    let asking = async {
        // The length and the message in one segment, as RFC 7766 section 8 asks.
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
        connection.write_all(&[&length[..], &message].concat()).await?;
        let length = connection.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        connection.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let received = budget
        .step(Step::Answer, asking)
        .await?
        .map_err(|error: std::io::Error| CheckFailure::broken(Step::Answer, &error))?;
    let answer = decode(&received)?;
    if belongs(&answer, &asked) {
        Ok(answer)
    } else {
        Err(bad("what came answers another question"))
    }
}

/// Most of a datagram that is read: without an option that allows more, 512 bytes are allowed.
const MOST: usize = 4096;

/// A message with this question, and an identifier that nobody can know before.
fn ask(question: &DnsQuestion) -> Message {
    let mut message = Message::query();
    // Without it, some servers answer from what they happen to know.
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.record));
    message
}

fn encode(message: &Message) -> Result<Vec<u8>, CheckFailure> {
    let unfit = |error| CheckFailure::Impossible(format!("the question cannot be sent: {error}"));
    message.to_vec().map_err(unfit)
}

fn decode(bytes: &[u8]) -> Result<Message, CheckFailure> {
    Message::from_vec(bytes).map_err(|error| bad(&format!("what came is no DNS message: {error}")))
}

/// Whether this answers what was asked. A server that fails before it has read the question cannot
/// repeat it.
fn belongs(answer: &Message, asked: &Message) -> bool {
    let repeats = answer.queries == asked.queries
        || answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError;
    answer.metadata.id == asked.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
        && repeats
}

fn judge(answer: &Message, wanted: Option<&Pattern>) -> Result<(), CheckFailure> {
    let code = answer.metadata.response_code;
    if code != ResponseCode::NoError {
        return Err(CheckFailure::BadStatus(format!("answered {}", name(code))));
    }
    let Some(wanted) = wanted else { return Ok(()) };
    let texts: Vec<_> = answer.answers.iter().map(text).collect();
    if texts.iter().any(|text| wanted.matches(text.as_bytes())) {
        return Ok(());
    }
    let came = if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") };
    Err(bad(&format!("answered {}, expected {}", cut(came.as_bytes()), cut_pattern(wanted))))
}

fn cut_pattern(pattern: &Pattern) -> String {
    cut(pattern.to_string().as_bytes())
}

/// What a record says. Some that do not belong among answers have no text.
fn text(record: &Record) -> String {
    let mut text = String::new();
    // `to_string` would panic for those.
    if write!(text, "{}", record.data).is_err() {
        text.clear();
    }
    text
}

fn bad(what: &str) -> CheckFailure {
    CheckFailure::BadAnswer(what.to_owned())
}

/// The name that server logs and other tools have for a code.
fn name(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        code => format!("code {}", u16::from(code)),
    }
}

#[cfg(test)]
mod tests;
