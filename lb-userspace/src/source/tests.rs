use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const VIP: &str = "10.200.0.1";

struct Fixture {
    directory: TempDir,
    sources: Sources,
    events: mpsc::Receiver<SourceEvent>,
}

impl Fixture {
    fn new() -> Self {
        let (sender, events) = mpsc::channel(16);
        let directory = TempDir::new().expect("temporary directory");
        Self { directory, sources: Sources::new(sender), events }
    }

    fn file(&self, name: &str, last: u8) -> PathBuf {
        let path = self.directory.path().join(name);
        let text = format!("[[backend]]\naddress = \"10.0.1.{last}\"\n");
        fs::write(&path, text).expect("write");
        path
    }

    fn follow(&mut self, wanted: &[(&str, PathBuf)]) {
        let rule =
            BackendRule { vip: VIP.parse().expect("address"), forward: lb_common::Forward::L2 };
        self.sources.reconcile(wanted.iter().map(|(service, path)| {
            let config = SourceConfig::File { path: path.clone() };
            (service.parse().expect("name"), rule, config)
        }));
    }

    async fn next(&mut self) -> SourceEvent {
        let event = timeout(Duration::from_secs(5), self.events.recv()).await;
        event.expect("an event in time").expect("open channel")
    }

    async fn nothing(&mut self) {
        let event = timeout(Duration::from_millis(300), self.events.recv()).await;
        assert!(event.is_err(), "unexpected {event:?}");
    }
}

fn answer(event: &SourceEvent) -> (String, String) {
    match event {
        SourceEvent::Answered { service, snapshot, .. } => {
            (service.to_string(), snapshot.backends[0].address.to_string())
        }
        SourceEvent::Failed { service, error, .. } => (service.to_string(), error.clone()),
    }
}

#[tokio::test]
async fn what_is_unchanged_keeps_running() {
    let mut fixture = Fixture::new();
    let (web, dns) = (fixture.file("web", 1), fixture.file("dns", 2));
    fixture.follow(&[("web", web.clone())]);
    assert_eq!(answer(&fixture.next().await), ("web".into(), "10.0.1.1".into()));
    fixture.follow(&[("web", web.clone()), ("dns", dns)]);
    // A restarted one would answer again.
    assert_eq!(answer(&fixture.next().await), ("dns".into(), "10.0.1.2".into()));
    fixture.nothing().await;
    fixture.file("web", 3);
    assert_eq!(answer(&fixture.next().await), ("web".into(), "10.0.1.3".into()));
}

#[tokio::test]
async fn what_is_gone_stops_and_its_waiting_events_are_not_current() {
    let mut fixture = Fixture::new();
    let (old, new) = (fixture.file("old", 1), fixture.file("new", 2));
    fixture.follow(&[("web", old.clone())]);
    let first = fixture.next().await;
    assert!(fixture.sources.is_current(&first));
    fixture.follow(&[("web", new)]);
    assert!(!fixture.sources.is_current(&first));
    let second = fixture.next().await;
    assert_eq!(answer(&second), ("web".into(), "10.0.1.2".into()));
    assert!(fixture.sources.is_current(&second));
    fixture.follow(&[]);
    assert!(!fixture.sources.is_current(&second));
    fixture.file("new", 3);
    fixture.nothing().await;
}

#[tokio::test]
async fn errors_are_events_too() {
    let mut fixture = Fixture::new();
    let path = fixture.directory.path().join("missing");
    fixture.follow(&[("web", path)]);
    let event = fixture.next().await;
    assert!(matches!(&event, SourceEvent::Failed { error, .. } if error.contains("No such file")));
    assert!(fixture.sources.is_current(&event));
}
