//! `query`, `record`, `answer` and `transport`.

use super::table::Table;
use crate::{
    config::check::fields::{Checked, one_of},
    model::{BadDnsQuestion, DnsProbe, DnsQuestion, DnsTransport},
};

/// What a name server is asked.
pub(super) fn dns(table: &Table) -> Checked<DnsProbe> {
    let choices = [("udp", DnsTransport::Udp), ("tcp", DnsTransport::Tcp)];
    let transport = table.raw.transport.clone();
    Ok(DnsProbe {
        question: question(table)?,
        answer: table.parsed(table.raw.answer.as_ref(), "answer")?,
        transport: one_of(transport, &table.field("transport"), &choices, DnsTransport::Udp)?,
    })
}

fn question(table: &Table) -> Checked<DnsQuestion> {
    let (query, record) = (&table.raw.query, &table.raw.record);
    let name = query.as_ref().map_or(".", |query| query.get_ref());
    let kind = record.as_ref().map_or("SOA", |record| record.get_ref());
    DnsQuestion::new(name, kind).map_err(|error| {
        let (key, at) = match error {
            BadDnsQuestion::Name(_) => ("query", query),
            BadDnsQuestion::Record(_) => ("record", record),
        };
        match at {
            Some(at) => table.fault(at, key, error),
            None => table.missing(key, error),
        }
    })
}
