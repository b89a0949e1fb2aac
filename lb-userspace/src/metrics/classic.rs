//! From OpenMetrics to the classic text format, version 0.0.4.
//!
//! The library writes OpenMetrics only, and the formats differ where they look alike: a counter's
//! name has its `_total` in the samples but not in the lines about it, there are units and an end
//! mark, and some types have other names. Prometheus 2.42 takes a target for down that sends the
//! one under the name of the other.

/// Rewrites a whole exposition.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), text) => help = Some(text.unwrap_or_default()),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "stateset" => ("", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some(help) = help.take() {
                    push(&mut classic, &["# HELP ", name, suffix, " ", help]);
                }
                push(&mut classic, &["# TYPE ", name, suffix, " ", kind]);
            }
            // `# UNIT` and `# EOF`.
            (Some("#"), ..) => {}
            _ => push(&mut classic, &[line]),
        }
    }
    classic
}

fn push(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_what_differs_and_nothing_else() {
        let open = "# HELP a_b Some counter.\n# TYPE a_b counter\na_b_total{x=\"# y\"} 3\n\
                    # HELP c Some gauge.\n# TYPE c gauge\n# UNIT c seconds\nc 1.5\n\
                    # HELP d Who.\n# TYPE d info\nd_info{v=\"1\"} 1\n# EOF\n";
        let classic = "# HELP a_b_total Some counter.\n# TYPE a_b_total counter\n\
                       a_b_total{x=\"# y\"} 3\n# HELP c Some gauge.\n# TYPE c gauge\nc 1.5\n\
                       # HELP d_info Who.\n# TYPE d_info gauge\nd_info{v=\"1\"} 1\n";
        assert_eq!(from_open_metrics(open), classic);
        assert_eq!(from_open_metrics("# EOF\n"), "");
    }
}
