//! Documents that must say what the code does.

use lb_common::{DecapVerdict, Verdict};
use lb_tests::packets::Verdicts;

const VERDICTS: &str = include_str!("../../docs/verdicts.md");

/// Reason and action of every line in the table of a chapter that has both.
fn lines(chapter: &str) -> Vec<(&str, &str)> {
    let (_, text) = VERDICTS.split_once(chapter).expect("the chapter");
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    let line = |line: &'static str| {
        let (reason, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((reason, rest.split_once(" | ")?.0))
    };
    text.lines().filter_map(line).collect()
}

fn verdicts<V: Verdicts>(reason: impl Fn(V) -> &'static str) -> Vec<(&'static str, &'static str)> {
    V::all().iter().map(|verdict| (reason(*verdict), verdict.action().name())).collect()
}

#[test]
fn every_verdict_has_its_line() {
    assert_eq!(lines("\n## The balancer\n"), verdicts(Verdict::reason));
    assert_eq!(lines("\n## The tunnel's far end\n"), verdicts(DecapVerdict::reason));
}
