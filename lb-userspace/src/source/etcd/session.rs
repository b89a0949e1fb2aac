//! One connection to an etcd: what it lists, kept true by a watch.

use std::{collections::BTreeMap, future::Future, time::Duration};

use hyper::http::uri::PathAndQuery;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::wire::{
    Entry, Event, EventKind, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use crate::source::{MAX_ENTRIES, SourceError, error::shown};

/// Longest time for a connection and, again, for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A silent connection is asked whether it lives. etcd ends connections that are asked more often
/// than every 5 s (`--grpc-keepalive-min-time`).
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Largest message that is read: 65,535 entries of 500 bytes.
const LARGEST_MESSAGE: usize = 32 << 20;
/// Changes that follow each other more closely than this become one answer ...
const QUIET: Duration = Duration::from_millis(10);
/// ... which does not wait longer than this.
const LATEST: Duration = Duration::from_millis(100);

/// Keys and values, as the etcd has them.
pub(super) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A list that is kept true.
#[derive(Debug)]
pub(super) struct Session {
    endpoint: String,
    watch: Streaming<WatchResponse>,
    entries: Entries,
}

impl Session {
    /// Connects, lists every key that starts with the prefix, and watches from there on.
    pub(super) async fn open(endpoint: &str, prefix: &[u8]) -> Result<Self, SourceError> {
        let failed = |problem: String| unreachable(endpoint, &problem);
        let channel = connect(endpoint).await.map_err(failed)?;
        let mut client = Grpc::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        let range_end = end_of_prefix(prefix);

        let request = RangeRequest {
            key: prefix.to_vec(),
            range_end: range_end.clone(),
            limit: MAX_ENTRIES as i64,
        };
        let listed = within(async {
            client.ready().await.map_err(|error| chain(&error))?;
            let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
            let codec = ProstCodec::<_, RangeResponse>::default();
            let response = client.unary(Request::new(request), path, codec).await;
            response.map_err(|status| described(&status))
        });
        let listed = listed.await.map_err(failed)?.into_inner();
        if listed.more {
            return Err(SourceError::TooMany);
        }
        let header =
            listed.header.ok_or_else(|| failed("its answer has no revision".to_owned()))?;

        let create = WatchCreateRequest {
            key: prefix.to_vec(),
            range_end,
            start_revision: header.revision + 1,
            progress_notify: true,
        };
        let mut request = Request::new(WatchRequest { create: Some(create) });
        // Without this, a member that has lost the others keeps the watch open and says nothing.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let watch = within(async {
            client.ready().await.map_err(|error| chain(&error))?;
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            let codec = ProstCodec::<_, WatchResponse>::default();
            let response = client.server_streaming(request, path, codec).await;
            response.map_err(|status| described(&status))
        });
        let watch = watch.await.map_err(failed)?.into_inner();

        let entries = listed.entries.into_iter().map(|Entry { key, value }| (key, value)).collect();
        Ok(Self { endpoint: endpoint.to_owned(), watch, entries })
    }

    pub(super) const fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Waits until the entries have changed. After an error the session is of no more use.
    pub(super) async fn changed(&mut self) -> Result<(), SourceError> {
        while !self.apply_next().await? {}
        let latest = Instant::now() + LATEST;
        while let Ok(applied) =
            timeout_at(latest.min(Instant::now() + QUIET), self.apply_next()).await
        {
            applied?;
        }
        Ok(())
    }

    /// Waits for a message; true if it brought events.
    async fn apply_next(&mut self) -> Result<bool, SourceError> {
        let failed = |problem: &str| unreachable(&self.endpoint, problem);
        let message = self.watch.message().await.map_err(|status| failed(&described(&status)))?;
        let message = message.ok_or_else(|| failed("it ended the watch"))?;
        if message.compact_revision != 0 {
            return Err(failed("it no longer keeps all changes since the list"));
        }
        if message.canceled {
            let reason = shown(message.cancel_reason.as_bytes());
            return Err(failed(&format!("it ended the watch: {reason}")));
        }
        let has_events = !message.events.is_empty();
        message.events.into_iter().for_each(|event| self.apply(event));
        // The list has this limit too; what is beyond it is not worth keeping.
        if self.entries.len() > MAX_ENTRIES {
            return Err(SourceError::TooMany);
        }
        Ok(has_events)
    }

    fn apply(&mut self, event: Event) {
        let kind = event.kind();
        let Some(Entry { key, value }) = event.entry else {
            return;
        };
        match kind {
            EventKind::Put => self.entries.insert(key, value),
            EventKind::Delete => self.entries.remove(&key),
        };
    }
}

async fn connect(endpoint: &str) -> Result<Channel, String> {
    if !endpoint.starts_with("http://") {
        return Err("only http:// is supported, TLS is not".to_owned());
    }
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| chain(&error))?;
    let endpoint = endpoint
        .connect_timeout(ANSWER_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(ANSWER_WITHIN)
        // hyper takes a connection for idle on which nothing but the watch is open.
        .keep_alive_while_idle(true);
    within(async { endpoint.connect().await.map_err(|error| chain(&error)) }).await
}

async fn within<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let in_time = timeout(ANSWER_WITHIN, answer).await;
    in_time.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
}

/// The first key after all that start with the prefix: its last byte that can grow is one greater.
fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte < 0xff) {
        Some(last) => [&prefix[..last], &[prefix[last] + 1]].concat(),
        // etcd's word for "to the end".
        None => vec![0],
    }
}

fn unreachable(endpoint: &str, problem: &str) -> SourceError {
    let place = format!("etcd at {}", shown(endpoint.as_bytes()));
    SourceError::Unreachable { place, problem: problem.to_owned() }
}

fn described(status: &Status) -> String {
    let source = std::error::Error::source(status).map(|source| format!(": {}", chain(source)));
    format!("{}{}", shown(status.message().as_bytes()), source.unwrap_or_default())
}

/// An error with its causes, because the first one often says no more than "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<_> = causes.map(|error| shown(error.to_string().as_bytes())).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        assert_eq!(end_of_prefix(b"lb/web/"), b"lb/web0");
        assert_eq!(end_of_prefix(b"a\xff\xff"), b"b");
        assert_eq!(end_of_prefix(b"\xff"), b"\0");
        assert_eq!(end_of_prefix(b""), b"\0");
    }
}
