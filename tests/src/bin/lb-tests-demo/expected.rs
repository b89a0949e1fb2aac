//! What chance allows.

use lb_tests::{lbctl::BackendRow, report::Interval};

use crate::lab::number_of;

/// Compares the shares that were seen of a service's requests with those of its slots.
///
/// Returns whether chance explains the differences, and the largest one in words.
pub(crate) fn compare_shares(
    service: &str,
    rows: &[BackendRow],
    seen: &Interval,
) -> (bool, String) {
    let requests = seen.answered();
    let mut worst = (0.0, "no backend is listed".to_owned());
    let mut held = requests > 0;
    for row in rows.iter().filter(|row| row.service == service) {
        let Some(number) = number_of(row.address) else {
            continue;
        };
        let name = format!("be{number}");
        let (expected, found) = (row.slots_share, seen.share(&name));
        let excess = (found - expected).abs() / allowance(expected, requests);
        held &= excess <= 1.0;
        if excess >= worst.0 {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            let text = format!(
                "{name} is furthest, {} of {requests} instead of {}",
                percent(found),
                percent(expected)
            );
            worst = (excess, text);
        }
    }
    (held && worst.1.starts_with("be"), worst.1)
}

/// By how much a share may differ after so many requests: 4.5 standard deviations of a binomial
/// distribution, once in 150,000 times more, and half a request where nothing is expected.
fn allowance(share: f64, requests: u64) -> f64 {
    let requests = requests.max(1) as f64;
    4.5 * (share * (1.0 - share) / requests).sqrt() + 0.5 / requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_tests::report::Served;

    #[test]
    fn chance_is_allowed_and_a_wrong_weight_is_not() {
        let rows = [row("10.0.1.11", 0.5), row("10.0.1.12", 0.5)];
        assert!(compare_shares("web", &rows, &seen(480, 520)).0);
        assert!(!compare_shares("web", &rows, &seen(333, 667)).0);
    }

    #[test]
    fn a_backend_without_slots_gets_nothing() {
        let rows = [row("10.0.1.11", 1.0), row("10.0.1.12", 0.0)];
        assert!(compare_shares("web", &rows, &seen(1000, 0)).0);
        assert!(!compare_shares("web", &rows, &seen(999, 1)).0);
    }

    #[test]
    fn nothing_seen_is_nothing_shown() {
        assert!(!compare_shares("web", &[], &seen(10, 10)).0);
        assert!(!compare_shares("web", &[row("10.0.1.11", 1.0)], &seen(0, 0)).0);
    }

    fn row(address: &str, slots_share: f64) -> BackendRow {
        BackendRow {
            service: "web".into(),
            address: address.parse().unwrap(),
            state: "up".into(),
            reason: String::new(),
            weight: 100,
            slots_share,
        }
    }

    fn seen(be1: u64, be2: u64) -> Interval {
        let mut seen = Interval::default();
        for (name, count) in [("be1", be1), ("be2", be2)] {
            seen.served.insert(name.into(), Served { count, ..Served::default() });
        }
        seen
    }
}
