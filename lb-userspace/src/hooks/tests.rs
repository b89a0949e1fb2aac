use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{testing::told, *};
use crate::{event::EventKind, model::HookAction};

fn hook(name: &str, script: &str) -> Hook {
    Hook {
        name: name.to_owned(),
        on: [EventKind::BackendState].into(),
        to: ["down".to_owned()].into(),
        services: BTreeSet::new(),
        action: HookAction::Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        },
        timeout: Duration::from_secs(20),
        max_per_minute: 1000,
        max_running: 4,
    }
}

struct Bench {
    hooks: Hooks,
    reports: mpsc::Receiver<Event>,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let (sender, reports) = mpsc::channel(16);
        let directory = tempfile::tempdir().expect("a directory");
        Self { hooks: Hooks::new(sender), reports, directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    async fn report(&mut self) -> (String, String) {
        let patience = Duration::from_secs(30);
        let event = tokio::time::timeout(patience, self.reports.recv()).await;
        let event = event.expect("in time").expect("a report");
        assert_eq!(event.kind, EventKind::Hook);
        (event.to.expect("a word"), event.reason)
    }
}

async fn until_there(path: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while !Path::new(path).exists() {
        assert!(Instant::now() < until, "{path} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_that_hangs_delays_no_other() {
    let mut bench = Bench::new();
    bench.hooks.replace(&[hook("hangs", "sleep 1000"), hook("works", "exit 0")]);
    for number in 1..=9 {
        bench.hooks.offer(&told(number, &format!("10.0.0.{number}"), "down"));
    }
    for _ in 0..9 {
        let (to, reason) = bench.report().await;
        assert_eq!(to, "done");
        assert!(reason.starts_with("hook `works` took "), "{reason}");
    }
    let counts = bench.hooks.counts();
    assert_eq!((counts[0].done, counts[1].done), (0, 9));
}

/// A backend that is up again before the hook's turn needs no restart, and one that is down once
/// more is told of once.
#[tokio::test]
async fn what_is_over_is_not_acted_upon() {
    let mut bench = Bench::new();
    let (go, log) = (bench.path("go"), bench.path("log"));
    let script =
        format!("echo $LB_BACKEND $LB_SEQUENCE >> {log}; while [ ! -e {go} ]; do sleep 0.02; done");
    bench.hooks.replace(&[Hook { max_running: 1, ..hook("restart", &script) }]);
    bench.hooks.offer(&told(1, "10.0.0.1", "down"));
    until_there(&log).await;
    bench.hooks.offer(&told(2, "10.0.0.2", "down"));
    bench.hooks.offer(&told(3, "10.0.0.3", "down"));
    bench.hooks.offer(&told(4, "10.0.0.2", "up"));
    bench.hooks.offer(&told(5, "10.0.0.3", "down"));
    fs::write(go, "").expect("room");
    bench.report().await;
    bench.report().await;
    let log = fs::read_to_string(log).expect("written");
    assert_eq!(log, "10.0.0.1 1\n10.0.0.3 5\n");
    let counts = bench.hooks.counts().remove(0);
    assert_eq!((counts.done, counts.superseded), (2, 2));
}

#[tokio::test]
async fn the_rate_is_kept_and_told_once() {
    let mut bench = Bench::new();
    bench.hooks.replace(&[Hook { max_per_minute: 2, ..hook("page", "exit 7") }]);
    for number in 1..=5 {
        bench.hooks.offer(&told(number, &format!("10.0.0.{number}"), "down"));
    }
    let mut words = Vec::new();
    for _ in 0..3 {
        words.push(bench.report().await);
    }
    words.sort();
    let failed = ("failed".to_owned(), "hook `page`: exit code 7".to_owned());
    let limited = "hook `page`: 1 event kept back, since max_per_minute is 2".to_owned();
    assert_eq!(words, [failed.clone(), failed, ("limited".to_owned(), limited)]);
    let counts = bench.hooks.counts().remove(0);
    assert_eq!((counts.failed, counts.limited), (2, 3));
}

#[tokio::test]
async fn a_reload_keeps_what_stays_as_it_is() {
    let mut bench = Bench::new();
    let (same, other) = (hook("same", "exit 0"), hook("other", "exit 0"));
    bench.hooks.replace(&[same.clone(), other.clone()]);
    bench.hooks.offer(&told(1, "10.0.0.1", "down"));
    bench.report().await;
    bench.report().await;
    bench.hooks.replace(&[Hook { max_running: 1, ..other }, same]);
    let counts = bench.hooks.counts();
    assert_eq!((counts[0].hook.as_str(), counts[0].done), ("other", 0));
    assert_eq!((counts[1].hook.as_str(), counts[1].done), ("same", 1));
}

/// What has begun goes on; what waits does not begin.
#[tokio::test]
async fn a_hook_that_is_taken_away_finishes_what_it_has_begun() {
    let mut bench = Bench::new();
    let (go, log) = (bench.path("go"), bench.path("log"));
    let script = format!(
        "echo $LB_BACKEND >> {log}; while [ ! -e {go} ]; do sleep 0.02; done; echo end >> {log}"
    );
    bench.hooks.replace(&[Hook { max_running: 1, ..hook("restart", &script) }]);
    bench.hooks.offer(&told(1, "10.0.0.1", "down"));
    until_there(&log).await;
    bench.hooks.offer(&told(2, "10.0.0.2", "down"));
    bench.hooks.replace(&[]);
    fs::write(go, "").expect("room");
    assert_eq!(bench.report().await.0, "done");
    assert_eq!(fs::read_to_string(log).expect("written"), "10.0.0.1\nend\n");
}
