//! What a guest says on its serial port; see `init.sh`.

use std::time::{Duration, Instant};

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// The tasks that ended.
    pub(super) finished: Vec<Finished>,
    /// Why no result can be trusted, if so.
    pub(super) broken: Option<String>,
    begun: Option<Begun>,
    state: State,
}

/// How far a guest is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum State {
    /// Nothing was heard from its first process.
    #[default]
    Booting,
    /// It runs tasks.
    Working,
    /// It has run them all.
    Done,
}

/// A task that ran to its end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: String,
    /// How it ended; 0 is success, if there was a test.
    pub(super) code: i32,
    /// What it wrote.
    pub(super) output: Vec<String>,
    /// What its tests reported, a fact a line.
    pub(super) report: Vec<String>,
    pub(super) took: Duration,
}

#[derive(Debug)]
struct Begun {
    name: String,
    output: Vec<String>,
    report: Vec<String>,
    since: Instant,
}

impl Transcript {
    /// Takes a line. Returns the task that it ended.
    pub(super) fn take(&mut self, line: &str) -> Option<&Finished> {
        let line = line.trim_end();
        let Some((word, rest)) = directive(line) else {
            if let Some(begun) = &mut self.begun {
                begun.output.push(line.to_owned());
            }
            return None;
        };
        match word {
            "ready" => self.state = State::Working,
            "done" => self.state = State::Done,
            "broken" => self.broken = Some(rest.to_owned()),
            "begin" => {
                let (output, report, since) = (Vec::new(), Vec::new(), Instant::now());
                self.begun = Some(Begun { name: rest.to_owned(), output, report, since });
            }
            "report" => {
                if let Some(begun) = &mut self.begun {
                    begun.report.push(rest.to_owned());
                }
            }
            "end" => return self.end(rest),
            _ => {}
        }
        None
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The task that has begun and not ended, and what it wrote.
    pub(super) fn unfinished(&self) -> Option<(&str, &[String])> {
        self.begun.as_ref().map(|begun| (begun.name.as_str(), begun.output.as_slice()))
    }

    fn end(&mut self, rest: &str) -> Option<&Finished> {
        let Begun { name, output, report, since } = self.begun.take()?;
        let code = rest.strip_prefix(&name).and_then(|code| code.trim().parse().ok());
        let code = code.unwrap_or(-1);
        self.finished.push(Finished { name, code, output, report, took: since.elapsed() });
        self.finished.last()
    }
}

impl Finished {
    /// Whether it succeeded: a program that found no test by the name that it was given has not.
    pub(super) fn is_good(&self) -> bool {
        let is_empty = |line: &String| line.starts_with("running 0 tests");
        self.code == 0 && !self.output.iter().any(is_empty)
    }

    /// In a word.
    pub(super) fn outcome(&self) -> &'static str {
        if self.is_good() { "ok" } else { "FAILED" }
    }

    /// The end of what it wrote.
    pub(super) fn tail(&self) -> String {
        tail(&self.output)
    }
}

/// The last lines, of which a refusal by the verifier may be very long.
pub(super) fn tail(output: &[String]) -> String {
    const LINES: usize = 30;
    const COLUMNS: usize = 400;

    let last = &output[output.len().saturating_sub(LINES)..];
    let cut = |line: &String| {
        let start: String = line.chars().take(COLUMNS).collect();
        let rest = if start.len() < line.len() { " ..." } else { "" };
        format!("    {start}{rest}\n")
    };
    last.iter().map(cut).collect()
}

/// The word after "@" and what follows.
fn directive(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('@')?;
    Some(line.split_once(' ').unwrap_or((line, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.take(line);
        }
        transcript
    }

    #[test]
    fn tasks_have_a_code_an_output_and_a_report() {
        let transcript = read(&[
            "noise of the firmware\r",
            "@ready\r",
            "@begin golden\r",
            "test a ... ok\r",
            "@report instructions balancer 10926\r",
            "@end golden 101\r",
            "@begin decap",
            "@end decap 0",
            "@done\r",
        ]);
        assert_eq!(transcript.state(), State::Done);
        let [golden, decap] = &transcript.finished[..] else { panic!("{transcript:?}") };
        assert_eq!((golden.name.as_str(), golden.code), ("golden", 101));
        assert_eq!(golden.output, ["test a ... ok"]);
        assert_eq!(golden.report, ["instructions balancer 10926"]);
        assert_eq!((decap.name.as_str(), decap.code), ("decap", 0));
    }

    #[test]
    fn a_task_without_an_end_is_unfinished() {
        let transcript = read(&["@ready", "@begin golden", "test a ..."]);
        assert_eq!(transcript.state(), State::Working);
        let (name, output) = transcript.unfinished().expect("it has begun");
        assert_eq!((name, output), ("golden", &["test a ...".to_owned()][..]));
        assert_eq!(read(&["@read"]).state(), State::Booting);
    }

    #[test]
    fn no_test_is_a_failure() {
        let run = |line| read(&["@ready", "@begin golden", line, "@end golden 0"]);
        assert!(run("running 1 test").finished[0].is_good());
        assert!(!run("running 0 tests").finished[0].is_good());
    }

    #[test]
    fn the_last_lines_are_cut() {
        let lines: Vec<_> = (0..50).map(|number| format!("{number} {}", "é".repeat(500))).collect();
        let tail = tail(&lines);
        assert_eq!(tail.lines().count(), 30);
        assert!(tail.starts_with("    20 é") && tail.ends_with("é ...\n"), "{tail}");
        assert!(tail.lines().all(|line| line.chars().count() < 420));
    }

    #[test]
    fn a_code_that_cannot_be_read_is_a_failure() {
        let transcript = read(&["@ready", "@begin golden", "@end golden"]);
        assert_ne!(transcript.finished[0].code, 0);
        assert!(read(&["@broken veth.ko cannot be loaded"]).broken.is_some());
    }
}
