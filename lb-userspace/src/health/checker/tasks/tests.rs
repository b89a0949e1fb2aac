//! With a clock that stands still until all tasks wait for it.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::{
    health::probe::Pinger,
    model::{HealthCheck, Probe},
};

/// What the questions of a test do.
#[derive(Debug, Default)]
struct Script {
    /// When they were asked.
    asked: Mutex<Vec<Instant>>,
    /// How long each takes.
    takes: Duration,
    /// How many of them panic, the first ones.
    panics: AtomicU32,
}

#[derive(Clone, Debug)]
struct Question {
    backend: BackendName,
    check: HealthCheck,
    script: Arc<Script>,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        (&self.backend, &self.check) == (&other.backend, &other.check)
    }
}

impl Job for Question {
    type Result = (BackendName, Option<CheckFailure>);

    fn backend(&self) -> &BackendName {
        &self.backend
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm::of_check(&self.backend, &self.check)
    }

    fn descriptors(&self) -> u32 {
        1
    }

    async fn ask(&self, _: &Means) -> Self::Result {
        self.script.asked.lock().expect("not poisoned").push(Instant::now());
        sleep(self.script.takes).await;
        let left = self.script.panics.load(Relaxed);
        if left > 0 {
            self.script.panics.store(left - 1, Relaxed);
            panic!("expected by the test");
        }
        (self.backend.clone(), None)
    }

    fn not_asked(&self, why: CheckFailure) -> Self::Result {
        (self.backend.clone(), Some(why))
    }
}

const INTERVAL: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(200);
const DOWN: Duration = Duration::from_secs(5);
/// Timers have whole milliseconds.
const TICK: Duration = Duration::from_millis(1);

fn question(service: &str, script: &Arc<Script>) -> Question {
    let check = HealthCheck {
        interval: INTERVAL,
        fast_interval: FAST,
        down_interval: DOWN,
        timeout: FAST,
        ..HealthCheck::new(Probe::Tcp, 1)
    };
    let backend = format!("{service}/10.0.0.1").parse().expect("a name");
    Question { backend, check, script: Arc::clone(script) }
}

struct Fixture {
    tasks: Tasks<Question>,
    results: mpsc::Receiver<(BackendName, Option<CheckFailure>)>,
    meter: Arc<Meter>,
}

fn fixture(permits: u32, queue: usize) -> Fixture {
    let (sender, results) = mpsc::channel(queue);
    let meter = Arc::new(Meter::default());
    let common = Common {
        means: Arc::new(Means { tunnels: None.into(), pinger: Pinger::default() }),
        permits: Permits::new(permits),
        meter: Arc::clone(&meter),
        epoch: Instant::now(),
    };
    Fixture { tasks: Tasks::new(common, sender), results, meter }
}

impl Fixture {
    async fn next(&mut self) -> (BackendName, Option<CheckFailure>) {
        timeout(DOWN * 2, self.results.recv()).await.expect("a result in time").expect("open")
    }

    /// Time from this result to the next one.
    async fn gap(&mut self) -> Duration {
        let before = Instant::now();
        self.next().await;
        before.elapsed()
    }
}

fn about(found: Duration, expected: Duration) -> bool {
    found.abs_diff(expected) <= TICK * 2
}

#[tokio::test(start_paused = true)]
async fn paces_take_effect_at_once_and_the_place_stays() {
    let script = Arc::default();
    let mut fixture = fixture(10, 10);
    let web = question("web", &script);
    fixture.tasks.reconcile(vec![web.clone()]);
    for _ in 0..3 {
        fixture.next().await;
    }
    let place = Instant::now();
    assert!(about(fixture.gap().await, INTERVAL));
    // From the last check on, not from now.
    advance(FAST / 2).await;
    fixture.tasks.set_pace(&web.backend, Pace::Fast);
    assert!(about(fixture.gap().await, FAST / 2));
    assert!(about(fixture.gap().await, FAST));
    // Never sooner than now, and no lateness either.
    fixture.tasks.set_pace(&web.backend, Pace::Down);
    advance(DOWN / 2).await;
    fixture.tasks.set_pace(&web.backend, Pace::Fast);
    assert!(about(fixture.gap().await, Duration::ZERO));
    fixture.tasks.set_pace(&web.backend, Pace::Down);
    assert!(about(fixture.gap().await, DOWN));
    fixture.tasks.set_pace(&web.backend, Pace::Normal);
    for _ in 0..3 {
        assert!(fixture.gap().await <= INTERVAL + TICK * 2);
    }
    let off = place.elapsed().as_millis() % INTERVAL.as_millis();
    assert!(!(3..=997).contains(&off), "{off} ms off its place");
    let latest = fixture.meter.read().lateness.quantile(1.0).expect("checks");
    assert!(latest <= 0.002, "{latest} s late");
}

#[tokio::test(start_paused = true)]
async fn the_same_pace_again_changes_nothing() {
    let script: Arc<Script> = Arc::default();
    let mut fixture = fixture(10, 10);
    let web = question("web", &script);
    fixture.tasks.reconcile(vec![web.clone()]);
    for _ in 0..4 {
        fixture.next().await;
    }
    for _ in 0..9 {
        fixture.tasks.set_pace(&web.backend, Pace::Normal);
        fixture.tasks.reconcile(vec![web.clone(), web.clone()]);
        sleep(INTERVAL / 10).await;
    }
    assert!(fixture.results.try_recv().is_err(), "began anew");
    assert!(about(fixture.gap().await, INTERVAL / 10));
}

#[tokio::test(start_paused = true)]
async fn many_new_targets_are_no_burst_and_few_need_not_wait() {
    let script: Arc<Script> = Arc::default();
    let mut fixture = fixture(10_000, 10_000);
    let few = (0..100).map(|number| question(&format!("few{number}"), &script));
    fixture.tasks.reconcile(few.collect());
    sleep(Tasks::<Question>::SOON + TICK * 2).await;
    assert_eq!(fixture.results.len(), 100);

    script.asked.lock().expect("not poisoned").clear();
    let began = Instant::now();
    let many = (0..5000).map(|number| question(&format!("many{number}"), &script));
    fixture.tasks.reconcile(many.collect());
    sleep(INTERVAL * 3 - TICK).await;
    let mut tenths = [0; 30];
    for asked in &*script.asked.lock().expect("not poisoned") {
        tenths[((*asked - began).as_millis() / 100) as usize] += 1;
    }
    assert!(tenths.iter().all(|count| (400..600).contains(count)), "{tenths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_and_checking_goes_on() {
    let script = Arc::new(Script { panics: AtomicU32::new(2), ..Script::default() });
    let mut fixture = fixture(1, 10);
    fixture.tasks.reconcile(vec![question("web", &script)]);
    for _ in 0..2 {
        let why = fixture.next().await.1.expect("a failure");
        assert!(why.is_local(), "{why:?}");
        assert!(why.to_string().contains("expected by the test"), "{why}");
    }
    assert_eq!(fixture.next().await.1, None);
    assert_eq!(fixture.meter.read().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_descriptor_says_so_and_keeps_nobody_waiting() {
    let hung = Arc::new(Script { takes: DOWN * 100, ..Script::default() });
    let quick: Arc<Script> = Arc::default();
    let mut fixture = fixture(2, 10);
    fixture.tasks.reconcile(vec![question("hung", &hung)]);
    sleep(INTERVAL).await;
    assert_eq!(fixture.meter.read().in_flight, 1);
    // One of two is taken: others share what is left.
    fixture.tasks.reconcile(vec![question("hung", &hung), question("web", &quick)]);
    assert_eq!(fixture.next().await.1, None);
    fixture.tasks.reconcile(vec![question("hung", &hung), question("also", &hung)]);
    sleep(INTERVAL).await;
    assert_eq!(fixture.meter.read().in_flight, 2);
    fixture.tasks.reconcile(vec![
        question("hung", &hung),
        question("also", &hung),
        question("web", &quick),
    ]);
    let (backend, why) = fixture.next().await;
    assert_eq!(
        (backend.service.to_string(), why),
        ("web".into(), Some(CheckFailure::OutOfDescriptors))
    );
    assert_eq!(fixture.meter.read().not_made, 1);
    // What ends gives back what it held.
    fixture.tasks.reconcile(vec![question("web", &quick)]);
    assert_eq!(fixture.next().await.1, None);
    assert_eq!(fixture.next().await.1, None);
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_results_has_none_heaped_up() {
    let script: Arc<Script> = Arc::default();
    let mut fixture = fixture(10, 1);
    fixture.tasks.reconcile(vec![question("web", &script)]);
    sleep(INTERVAL * 10).await;
    // One lies in the channel, one waits for its place.
    assert_eq!(script.asked.lock().expect("not poisoned").len(), 2);
    for _ in 0..3 {
        fixture.next().await;
    }
    let lateness = fixture.meter.read().lateness;
    assert_eq!(lateness.quantile(1.0), Some(10.0), "the third was late");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_target_is_silent() {
    let script = Arc::new(Script { takes: FAST, ..Script::default() });
    let mut fixture = fixture(10, 10);
    fixture.tasks.reconcile(vec![question("web", &script)]);
    fixture.next().await;
    sleep(INTERVAL).await;
    while fixture.results.try_recv().is_ok() {}
    while fixture.meter.read().in_flight == 0 {
        sleep(TICK).await;
    }
    fixture.tasks.reconcile(vec![]);
    assert!(timeout(DOWN, fixture.results.recv()).await.is_err());
    assert_eq!(fixture.meter.read().in_flight, 0);
}
