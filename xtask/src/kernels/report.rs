//! What came out, for people.

use super::{
    budget::{Budgets, Counted},
    grid::Grid,
    series::Expectation,
    transcript::Finished,
};

/// What a kernel's guest did.
pub(super) struct Report {
    /// As budgets name it.
    pub(super) series: String,
    /// Release and package.
    pub(super) name: String,
    pub(super) expectation: Expectation,
    pub(super) tasks: Vec<Finished>,
    /// Why there are no tasks, if so.
    pub(super) failure: Option<String>,
    /// Instructions, where programs were loaded.
    pub(super) counted: Option<Counted>,
}

impl Report {
    /// What lbd said where it must refuse.
    fn refusal(&self) -> Option<&str> {
        let lines = self.tasks.iter().flat_map(|task| &task.report);
        lines.filter_map(|line| line.strip_prefix("refused ")).next()
    }
}

/// Instructions by program and kernel with their growth, and what became of each task.
pub(super) fn tables(reports: &[Report], budgets: &Budgets) -> String {
    let (mut instructions, mut tasks) = (Grid::default(), Grid::default());
    let mut kernels = String::new();
    for report in reports {
        kernels.push_str(&format!("{}: {}\n", report.series, report.name));
        for task in &report.tasks {
            let cell = format!("{}, {} s", task.outcome(), task.took.as_secs());
            tasks.put(&task.name, &report.series, cell);
        }
        for (program, count) in report.counted.iter().flat_map(|counted| &counted.instructions) {
            let compiler = report.counted.as_ref().map_or("", |counted| &counted.compiler);
            let recorded = budgets.recorded(&report.series, compiler, program);
            instructions.put(program, &report.series, with_growth(*count, recorded));
        }
    }
    let compiler = reports.iter().find_map(|report| Some(&report.counted.as_ref()?.compiler));
    let mut text = kernels;
    if let Some(compiler) = compiler {
        text.push_str(&format!(
            "\nVerified instructions, compiled by {compiler}, and growth over the record:\n\n{}",
            instructions.text("program")
        ));
    }
    text.push_str(&format!("\nTests:\n\n{}", tasks.text("task")));
    for report in reports {
        if let Some(sentence) = report.refusal() {
            text.push_str(&format!("\n{}: refused with: {sentence}\n", report.series));
        }
    }
    text
}

/// What failed and what speaks against the numbers; empty if all is well.
pub(super) fn complaints(report: &Report, budgets: &Budgets) -> Vec<String> {
    let mut complaints: Vec<_> = report.failure.clone().into_iter().collect();
    for task in report.tasks.iter().filter(|task| !task.is_good()) {
        complaints.push(format!(
            "task {} failed with code {}; its last lines:\n{}",
            task.name,
            task.code,
            task.tail()
        ));
    }
    let is_silent = report.failure.is_none() && report.refusal().is_none();
    if report.expectation == Expectation::Refused && is_silent {
        complaints.push("lbd was not refused".to_owned());
    }
    if let Some(counted) = &report.counted {
        complaints.extend(budgets.complaints(&report.series, counted));
    }
    complaints.into_iter().map(|complaint| format!("{}: {complaint}", report.series)).collect()
}

fn with_growth(count: u32, recorded: Option<u32>) -> String {
    match recorded {
        None | Some(0) => count.to_string(),
        Some(recorded) => {
            let growth = (f64::from(count) / f64::from(recorded) - 1.0) * 100.0;
            format!("{count} ({growth:+.1} %)")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn finished(name: &str, code: i32, report: &[&str]) -> Finished {
        Finished {
            name: name.to_owned(),
            code,
            output: vec!["the last line".to_owned()],
            report: report.iter().map(|line| (*line).to_owned()).collect(),
            took: Duration::from_secs(7),
        }
    }

    fn report(expectation: Expectation, tasks: Vec<Finished>) -> Report {
        let (series, name) = ("6.1".to_owned(), "6.1.0-56 of package 6.1.192-2".to_owned());
        Report { series, name, expectation, tasks, failure: None, counted: None }
    }

    #[test]
    fn a_refusal_is_shown_and_missed() {
        let sentence = "refused error: Linux 5.10 is too old";
        let refused = report(Expectation::Refused, vec![finished("refusal", 0, &[sentence])]);
        assert_eq!(complaints(&refused, &Budgets::default()), [""; 0]);
        let text = tables(&[refused], &Budgets::default());
        assert!(text.contains("6.1: refused with: error: Linux 5.10 is too old\n"), "{text}");
        let silent = report(Expectation::Refused, vec![finished("refusal", 0, &[])]);
        assert_eq!(complaints(&silent, &Budgets::default()), ["6.1: lbd was not refused"]);
    }

    #[test]
    fn a_failure_shows_its_last_lines() {
        let failed = report(Expectation::Works, vec![finished("golden", 101, &[])]);
        let complaints = complaints(&failed, &Budgets::default());
        assert!(complaints[0].contains("golden failed with code 101"), "{complaints:?}");
        assert!(complaints[0].contains("the last line"), "{complaints:?}");
        let text = tables(&[failed], &Budgets::default());
        assert!(text.contains("golden  FAILED, 7 s"), "{text}");
    }

    #[test]
    fn a_guest_that_fails_is_told_once() {
        let mut hung = report(Expectation::Refused, Vec::new());
        hung.failure = Some("the guest did not boot".to_owned());
        assert_eq!(complaints(&hung, &Budgets::default()), ["6.1: the guest did not boot"]);
    }

    #[test]
    fn growth_is_shown_where_there_is_a_record() {
        assert_eq!(with_growth(110, Some(100)), "110 (+10.0 %)");
        assert_eq!(with_growth(110, None), "110");
    }
}
