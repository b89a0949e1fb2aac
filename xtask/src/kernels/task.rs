//! What a guest does.

use super::series::Expectation;

/// A line of shell that a guest runs; exit code 0 is success.
pub(super) struct Task {
    /// A word that reports name it by.
    pub(super) name: &'static str,
    /// The line.
    pub(super) command: &'static str,
}

const fn task(name: &'static str, command: &'static str) -> Task {
    Task { name, command }
}

/// Test programs that tasks run: targets of the package `lb-tests`. They are in `/lb`.
pub(super) const TEST_TARGETS: [&str; 5] = ["guest", "golden", "decap", "differential", "e2e"];

/// What a guest does on a kernel on which everything has to work.
///
/// One test at a time: an emulated processor has no time for two with time-outs of their own.
const ALL: &[Task] = &[
    task("verifier", "/lb/guest --test-threads=1 verifier::"),
    task("golden", "/lb/golden --test-threads=1"),
    task("decap", "/lb/decap --test-threads=1"),
    task("differential", "LB_TEST_PACKETS=20000 /lb/differential --test-threads=1"),
    task("forwarding", "/lb/e2e --test-threads=1 mode_carries_downloads_and_large_datagrams"),
    task("devices", "/lb/guest --test-threads=1 devices::"),
];

const REFUSAL: &[Task] = &[task("refusal", "/lb/guest --test-threads=1 refusal::")];

/// The tasks on a kernel of which this is expected.
pub(super) fn tasks(expectation: Expectation) -> &'static [Task] {
    match expectation {
        Expectation::Works => ALL,
        Expectation::Refused => REFUSAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_a_line_that_runs_a_program_of_the_image() {
        for task in ALL.iter().chain(REFUSAL) {
            assert!(!task.name.contains([' ', '\n']) && !task.command.contains('\n'));
            let runs = |target: &&str| task.command.contains(&format!("/lb/{target} "));
            assert!(TEST_TARGETS.iter().any(runs), "{}", task.command);
        }
    }
}
