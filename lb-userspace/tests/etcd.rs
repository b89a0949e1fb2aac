//! The etcd source against a real etcd: lists, changes, outages, compactions.
#![cfg(feature = "etcd")]

#[path = "etcd/proxy.rs"]
mod proxy;
#[path = "etcd/server.rs"]
mod server;

use std::time::Duration;

use lb_userspace::{
    model::BackendRule,
    source::{EtcdSource, Source as _, SourceError},
};
use tokio::time::{sleep, timeout};

use self::{proxy::Proxy, server::Etcd};

const PREFIX: &str = "lb/web/";
const IN_TIME: Duration = Duration::from_secs(10);

struct Fixture {
    etcd: Etcd,
    source: EtcdSource,
}

impl Fixture {
    fn new() -> Self {
        let etcd = Etcd::start();
        let source = source(&[etcd.url()]);
        Self { etcd, source }
    }

    fn put(&self, address: &str, value: &str) {
        self.etcd.control(&["put", &format!("{PREFIX}{address}"), value]);
    }

    fn delete(&self, address: &str) {
        self.etcd.control(&["del", &format!("{PREFIX}{address}")]);
    }

    /// The next answer, as `ADDRESS=WEIGHT`s.
    async fn next(&mut self) -> Result<String, SourceError> {
        next(&mut self.source, IN_TIME).await
    }

    async fn silent(&mut self, time: Duration) {
        let answer = timeout(time, self.source.next()).await;
        assert!(answer.is_err(), "unexpected answer {answer:?}");
    }
}

fn source(endpoints: &[String]) -> EtcdSource {
    let rule = BackendRule {
        vip: "10.200.0.1".parse().expect("address"),
        forward: lb_common::Forward::L2,
    };
    EtcdSource::new(endpoints.to_vec(), PREFIX, rule)
}

async fn next(source: &mut EtcdSource, within: Duration) -> Result<String, SourceError> {
    let snapshot = timeout(within, source.next()).await.expect("an answer in time")?;
    let shown = snapshot.backends.iter().map(|b| format!("{}={}", b.address, b.weight));
    Ok(shown.collect::<Vec<_>>().join(" "))
}

fn said(text: &str) -> Result<String, SourceError> {
    Ok(text.to_owned())
}

#[tokio::test]
async fn lists_and_follows() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.next().await, said(""), "an empty etcd has an answer");
    fixture.etcd.control(&["put", "lb/web", "not below the prefix"]);
    fixture.etcd.control(&["put", "lb/web0", "nor this"]);
    fixture.put("10.0.1.11", "");
    assert_eq!(fixture.next().await, said("10.0.1.11=100"));
    fixture.put("10.0.1.9", r#"{"weight": 5}"#);
    assert_eq!(fixture.next().await, said("10.0.1.9=5 10.0.1.11=100"));
    fixture.put("10.0.1.9", r#"{"weight": 6}"#);
    assert_eq!(fixture.next().await, said("10.0.1.9=6 10.0.1.11=100"));
    fixture.delete("10.0.1.11");
    assert_eq!(fixture.next().await, said("10.0.1.9=6"));
    fixture.delete("10.0.1.9");
    assert_eq!(fixture.next().await, said(""), "the last one was taken out on purpose");
}

#[tokio::test]
async fn what_leases_hold_goes_with_them() {
    let mut fixture = Fixture::new();
    let lease = fixture.etcd.control(&["lease", "grant", "1"]);
    let lease = lease.split_whitespace().nth(1).expect("lease ID granted ...").to_owned();
    fixture.etcd.control(&["put", "--lease", &lease, &format!("{PREFIX}10.0.1.1"), ""]);
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
    assert_eq!(fixture.next().await, said(""));
}

#[tokio::test]
async fn a_bad_entry_refuses_the_answer_until_it_is_gone() {
    let mut fixture = Fixture::new();
    fixture.put("10.0.1.1", "");
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
    fixture.put("127.0.0.1", "");
    let error = fixture.next().await.expect_err("loopback").to_string();
    assert!(error.contains("entry `127.0.0.1` is refused"), "{error}");
    fixture.put("10.0.1.2", "");
    fixture.next().await.expect_err("it is still there");
    fixture.delete("127.0.0.1");
    assert_eq!(fixture.next().await, said("10.0.1.1=100 10.0.1.2=100"));
}

#[tokio::test]
async fn an_outage_is_one_error_and_never_an_empty_answer() {
    let mut fixture = Fixture::new();
    fixture.put("10.0.1.1", "");
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
    fixture.etcd.kill();
    let error = fixture.next().await.expect_err("killed").to_string();
    assert!(error.contains(&fixture.etcd.url()) && error.contains("refused"), "{error}");
    fixture.silent(Duration::from_secs(2)).await;
    fixture.etcd.restart();
    assert_eq!(fixture.next().await, said("10.0.1.1=100"), "it says again what is true");
    fixture.put("10.0.1.2", "");
    assert_eq!(fixture.next().await, said("10.0.1.1=100 10.0.1.2=100"));
}

#[tokio::test]
async fn changes_during_an_outage_are_not_missed() {
    let mut fixture = Fixture::new();
    for last in 1..4 {
        fixture.put(&format!("10.0.1.{last}"), "");
    }
    assert_eq!(fixture.next().await, said("10.0.1.1=100 10.0.1.2=100 10.0.1.3=100"));
    fixture.etcd.kill();
    fixture.next().await.expect_err("killed");
    fixture.etcd.restart();
    // The source comes back when it likes; whether it sees this in a list or by its watch is all
    // the same.
    fixture.delete("10.0.1.2");
    fixture.etcd.compact();
    let mut answer = fixture.next().await;
    if answer == said("10.0.1.1=100 10.0.1.2=100 10.0.1.3=100") {
        answer = fixture.next().await;
    }
    assert_eq!(answer, said("10.0.1.1=100 10.0.1.3=100"));
}

#[tokio::test]
async fn waits_for_an_etcd_that_starts_later() {
    let mut fixture = Fixture::new();
    fixture.put("10.0.1.1", "");
    fixture.etcd.kill();
    fixture.next().await.expect_err("not there yet");
    fixture.etcd.restart();
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
}

#[tokio::test]
async fn a_dead_member_is_no_outage_while_another_answers() {
    let mut fixture = Fixture::new();
    fixture.put("10.0.1.1", "");
    let dead = server::free_url();
    fixture.source = source(&[dead, fixture.etcd.url()]);
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
}

/// A machine that is gone sends nothing, not even the end of the connection.
#[tokio::test]
async fn a_silent_etcd_is_noticed() {
    let mut fixture = Fixture::new();
    fixture.put("10.0.1.1", "");
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
    fixture.etcd.freeze();
    let error = next(&mut fixture.source, Duration::from_secs(25)).await.expect_err("silent");
    assert!(error.to_string().contains("cannot be read"), "{error}");
    fixture.etcd.thaw();
    assert_eq!(fixture.next().await, said("10.0.1.1=100"));
}

/// Events between the list and the watch are compacted away: only another list has them.
#[tokio::test]
async fn a_compaction_between_list_and_watch_is_not_a_gap() {
    let mut fixture = Fixture::new();
    fixture.put("10.0.1.1", "");
    fixture.put("10.0.1.2", "");
    let proxy = Proxy::start(fixture.etcd.port(), b"lb/web/10.0.1.2").await;
    fixture.source = source(&[proxy.url()]);
    let (etcd, mut source) = (fixture.etcd, fixture.source);
    let following = tokio::spawn(async move {
        let first = next(&mut source, IN_TIME).await;
        [first, next(&mut source, IN_TIME).await]
    });
    proxy.held().await;
    etcd.control(&["del", "lb/web/10.0.1.1"]);
    etcd.control(&["del", "lb/web/10.0.1.2"]);
    etcd.control(&["put", "lb/web/10.0.1.3", ""]);
    etcd.compact();
    proxy.release();
    let answers = timeout(IN_TIME, following).await.expect("in time").expect("no panic");
    assert_eq!(answers, [said("10.0.1.1=100 10.0.1.2=100"), said("10.0.1.3=100")]);
}

#[tokio::test]
async fn many_changes_at_once_become_few_answers() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.next().await, said(""));
    let script: String = (1..=100).map(|last| format!("put {PREFIX}10.0.2.{last}\n")).collect();
    for _ in 0..3 {
        fixture.etcd.transaction(&script.replace("\n", " \"\"\n"));
    }
    sleep(Duration::from_millis(200)).await;
    let answer = fixture.next().await.expect("good");
    assert_eq!(answer.split(' ').count(), 100);
    fixture.silent(Duration::from_millis(500)).await;
}
