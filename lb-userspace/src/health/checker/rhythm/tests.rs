use proptest::prelude::*;

use super::*;
use crate::model::Probe;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(100);

fn rhythm(service: &str, interval: Duration, jitter: u8) -> Rhythm {
    let check = HealthCheck {
        interval,
        fast_interval: interval / 4,
        down_interval: interval * 3,
        jitter,
        ..HealthCheck::new(Probe::Tcp, 1)
    };
    Rhythm::of_check(&format!("{service}/10.0.0.1").parse().expect("a name"), &check)
}

/// When checks begin that are never late, from the first one on.
fn turns(rhythm: Rhythm, first: Duration, pace: Pace) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(first), move |last| Some(rhythm.next(*last, pace)))
}

#[test]
fn keeps_to_its_place_and_comes_back_to_it() {
    let rhythm = rhythm("web", SECOND, 0);
    let place = Duration::from_nanos(rhythm.place());
    assert_eq!(rhythm.next(place + SECOND * 7, Pace::Normal), place + SECOND * 8);
    // A little late is no reason to move.
    let late = place + SECOND * 7 + Duration::from_millis(30);
    assert_eq!(rhythm.next(late, Pace::Normal), place + SECOND * 8);
    assert_eq!(rhythm.next(late, Pace::Fast), late + SECOND / 4);
    assert_eq!(rhythm.next(late, Pace::Down), late + SECOND * 3);
    // From elsewhere in two steps, of which none is short.
    let late = place + SECOND * 7 + Duration::from_millis(900);
    let between = rhythm.next(late, Pace::Normal);
    assert_eq!(between, late + Duration::from_millis(550));
    assert_eq!(rhythm.next(between, Pace::Normal), place + SECOND * 9);
}

#[test]
fn thousands_of_targets_spread_evenly_from_the_start() {
    for jitter in [0, 20] {
        let mut tenths = [0; 50];
        for number in 0..5000 {
            let rhythm = rhythm(&format!("s{number}"), SECOND, jitter);
            let first = rhythm.first(Duration::from_millis(12_345), SECOND);
            for turn in turns(rhythm, first, Pace::Normal).take(6) {
                let tenth = (turn.as_millis() - 12_345) / 100;
                if let Some(count) = tenths.get_mut(tenth as usize) {
                    *count += 1;
                }
            }
        }
        assert!(tenths.iter().all(|count| (350..700).contains(count)), "{tenths:?}");
    }
}

#[test]
fn jitter_is_as_wide_as_asked_for_and_the_same_each_time() {
    let rhythm = rhythm("web", SECOND, 30);
    let turns: Vec<_> = turns(rhythm, rhythm.first(SECOND, SOON), Pace::Normal).take(500).collect();
    let gaps = || turns.windows(2).skip(2).map(|pair| pair[1] - pair[0]);
    let (shortest, longest) = (gaps().min().expect("some"), gaps().max().expect("some"));
    assert!(shortest >= SECOND.mul_f64(0.7) && shortest < SECOND.mul_f64(0.8), "{shortest:?}");
    assert!(longest <= SECOND.mul_f64(1.3) && longest > SECOND.mul_f64(1.2), "{longest:?}");
    let again = turns[..499].iter().map(|last| rhythm.next(*last, Pace::Normal));
    assert!(again.eq(turns[1..].iter().copied()));
}

#[test]
fn an_agent_has_a_place_of_its_own() {
    let backend: BackendName = "web/10.0.0.1".parse().expect("a name");
    let agent =
        AgentCheck { port: 1, address: None, send: Vec::new(), interval: SECOND, timeout: SECOND };
    assert_ne!(
        Rhythm::of_agent(&backend, &agent).place(),
        rhythm("web", SECOND, 0).place(),
        "or both would be asked at once"
    );
}

proptest! {
    #[test]
    fn the_first_check_is_soon(
        service in "[a-z]{1,8}",
        interval in 10_u64..100_000,
        passed in 0_u64..10_000_000,
        soon in 0_u64..10_000,
    ) {
        let interval = Duration::from_millis(interval);
        let (now, soon) = (Duration::from_millis(passed), Duration::from_millis(soon));
        let first = rhythm(&service, interval, 0).first(now, soon);
        prop_assert!(first >= now);
        prop_assert!(first <= now + interval.min(soon * 2));
    }

    /// Wherever the last check was: the next one is never more than an interval away, or less than
    /// half of one, each with its jitter, and within three the target has its place again.
    #[test]
    fn gaps_are_bounded_and_the_place_is_found_again(
        service in "[a-z]{1,8}",
        interval in 10_u64..100_000,
        jitter in 0_u8..=50,
        last in 0_u64..1_000_000_000,
    ) {
        let interval = Duration::from_millis(interval);
        let rhythm = rhythm(&service, interval, jitter);
        let jitter = f64::from(jitter) / 100.0;
        let turns: Vec<_> =
            turns(rhythm, Duration::from_micros(last), Pace::Normal).take(6).collect();
        let tolerance = Duration::from_nanos(10);
        for pair in turns.windows(2) {
            let gap = pair[1] - pair[0];
            prop_assert!(gap <= interval.mul_f64(1.0 + jitter) + tolerance, "{gap:?}");
            prop_assert!(gap + tolerance >= interval.mul_f64((1.0 - jitter) / 2.0), "{gap:?}");
        }
        for turn in &turns[3..] {
            let into = (turn.as_nanos() as u64 + rhythm.interval - rhythm.place()) % rhythm.interval;
            let off = into.min(rhythm.interval - into);
            prop_assert!(off as f64 <= rhythm.interval as f64 * jitter / 2.0 + 10.0, "{off}");
        }
        for (pace, wanted) in [(Pace::Fast, interval / 4), (Pace::Down, interval * 3)] {
            let gap = rhythm.next(turns[0], pace) - turns[0];
            prop_assert!(gap <= wanted.mul_f64(1.0 + jitter) + tolerance);
            prop_assert!(gap + tolerance >= wanted.mul_f64(1.0 - jitter));
        }
    }
}
