//! A registry that is an etcd: keys under a prefix, one a backend.

mod session;
mod wire;

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use self::session::{Entries, Session};
use super::{
    EntryProblem, Snapshot, Source, SourceError, backoff::Backoff, error::shown, snapshot::Draft,
};
use crate::model::BackendRule;

/// A session that lasted so long was a good one, and the next may follow at once.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// Keys under a prefix of an etcd: prefix and ADDRESS, with nothing or `{"weight":N,"priority":P}`, of
/// which either may be missing, as value.
///
/// It lists, then watches from that revision on. After an outage or a compaction it lists again,
/// so nothing is missed. Of several endpoints it uses one at a time; an outage is when none answers.
#[derive(Debug)]
pub struct EtcdSource {
    endpoints: Vec<String>,
    prefix: Vec<u8>,
    rule: BackendRule,
    /// Index of the endpoint to use, modulo their number.
    turn: usize,
    backoff: Backoff,
    /// The outage that lasts was reported already.
    is_out: bool,
    session: Option<(Session, Instant)>,
}

impl EtcdSource {
    /// Nothing is connected before the first call of [`Source::next`].
    #[must_use]
    pub fn new(endpoints: Vec<String>, prefix: &str, rule: BackendRule) -> Self {
        Self {
            endpoints,
            prefix: prefix.as_bytes().to_vec(),
            rule,
            turn: 0,
            backoff: Backoff::default(),
            is_out: false,
            session: None,
        }
    }

    /// Tries each endpoint once, after the due pause.
    async fn connect(&mut self) -> Result<Session, SourceError> {
        sleep(self.backoff.delay()).await;
        // Until it has lasted a session is no success either, or an etcd that ends every watch
        // would be hammered.
        self.backoff.failed();
        let mut answer = Err(SourceError::Unsupported("no etcd is named"));
        for _ in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[self.turn % self.endpoints.len()];
            answer = Session::open(endpoint, &self.prefix).await;
            if answer.is_ok() {
                break;
            }
            self.turn += 1;
        }
        answer
    }
}

impl Source for EtcdSource {
    async fn next(&mut self) -> Result<Snapshot, SourceError> {
        loop {
            if let Some((session, since)) = &mut self.session {
                match session.changed().await {
                    Ok(()) => return snapshot(session.entries(), &self.prefix, self.rule),
                    Err(error) => tracing::info!(%error, "the watch ends, listing again"),
                }
                if since.elapsed() > GOOD_SESSION {
                    self.backoff.reset();
                }
                self.session = None;
                self.turn += 1;
            }
            match self.connect().await {
                Ok(session) => {
                    self.is_out = false;
                    let (session, _) = self.session.insert((session, Instant::now()));
                    return snapshot(session.entries(), &self.prefix, self.rule);
                }
                Err(error) if !std::mem::replace(&mut self.is_out, true) => return Err(error),
                Err(error) => tracing::debug!(%error, "no etcd yet"),
            }
        }
    }
}

fn snapshot(entries: &Entries, prefix: &[u8], rule: BackendRule) -> Result<Snapshot, SourceError> {
    let mut draft = Draft::new(rule);
    for (key, value) in entries {
        let address = key.strip_prefix(prefix).and_then(|rest| std::str::from_utf8(rest).ok());
        let address = address.ok_or_else(|| SourceError::entry(key, EntryProblem::NotAnAddress))?;
        let Value { weight, priority } = said(value).map_err(|problem| {
            SourceError::entry(key, EntryProblem::Value(shown(problem.to_string().as_bytes())))
        })?;
        draft.add(address, weight, priority)?;
    }
    Ok(draft.finish())
}

/// What is said of a backend.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    weight: Option<i64>,
    priority: Option<i64>,
}

fn said(value: &[u8]) -> Result<Value, serde_json::Error> {
    if value.is_empty() {
        return Ok(Value::default());
    }
    serde_json::from_slice(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(entries: &[(&[u8], &[u8])]) -> Result<Vec<(String, u16)>, String> {
        let entries = entries.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let vip = "10.200.0.1".parse().expect("address");
        let rule = BackendRule { vip, forward: lb_common::Forward::L2 };
        let snapshot = snapshot(&entries, b"lb/web/", rule).map_err(|error| error.to_string())?;
        Ok(snapshot.backends.iter().map(|b| (b.address.to_string(), b.weight)).collect())
    }

    #[test]
    fn keys_are_addresses_and_values_weights() {
        let found = read(&[
            (b"lb/web/10.0.1.2", b""),
            (b"lb/web/10.0.1.10", br#"{"weight": 7}"#),
            (b"lb/web/2001:db8::1", b"{}"),
        ]);
        let expected = [("10.0.1.2", 100), ("10.0.1.10", 7), ("2001:db8::1", 100)];
        assert_eq!(found, Ok(expected.map(|(a, w)| (a.to_owned(), w)).to_vec()));
        assert_eq!(read(&[]), Ok(vec![]));
    }

    #[test]
    fn one_bad_entry_refuses_all_and_is_named() {
        for (key, value, expected) in [
            (&b"lb/web/"[..], &b""[..], "entry ``"),
            (b"lb/web/10.0.1.2/status", b"", "entry `10.0.1.2/status`"),
            (b"lb/web/10.0.1.2", b"7", "entry `lb/web/10.0.1.2` is refused"),
            (b"lb/web/10.0.1.2", b"{\"weight\":-1}", "the weight -1"),
            (b"lb/web/10.0.1.2", b"{\"priority\":256}", "the priority 256"),
            (b"lb/web/10.0.1.2", b"{\"wieght\":1}", "unknown field"),
            (b"lb/web/10.0.\xff", b"", "this is not an IPv4 or IPv6 address"),
            (b"lb/web/10.0.\n1", b"", r"entry `10.0.\n1`"),
        ] {
            let error = read(&[(b"lb/web/10.0.1.1", b""), (key, value)]).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rest: Vec<u8>, value: Vec<u8>) {
            let _ = read(&[(&[b"lb/web/", &rest[..]].concat(), &value)]);
        }
    }
}
