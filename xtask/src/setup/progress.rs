//! Progress for people: one line that changes on a terminal, a few plain lines elsewhere.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader, Write as _},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// A step on its way.
pub(super) struct Progress {
    label: String,
    started: Instant,
    shown: Instant,
    style: Style,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Style {
    Terminal,
    Plain,
}

impl Progress {
    pub(super) fn start(label: String) -> Self {
        let style = if io::stderr().is_terminal() {
            Style::Terminal
        } else {
            eprintln!("{label} ...");
            Style::Plain
        };
        let started = Instant::now();
        Self { label, started, shown: started, style }
    }

    /// Runs a command and shows the latest line of its output; the last lines of it if it fails.
    pub(super) fn watch(&mut self, command: &mut Command, shown: &str) -> Result<()> {
        let (reader, writer) = io::pipe().context("no pipe for a command's output")?;
        let mut child = command
            .env("RUST_BACKTRACE", "0") // rustup's errors would be 20 lines of frames
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("no second end of a pipe")?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        // The command holds the pipe's writing end too, which would never be closed.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let tail = self.follow(&lines(reader));
        let status = child.wait().with_context(|| format!("lost `{shown}`"))?;
        if !status.success() {
            self.note("");
            for line in tail {
                eprintln!("    {line}");
            }
            bail!("`{shown}` failed ({status}); the end of its output is above");
        }
        Ok(())
    }

    /// Shows lines until there are no more; keeps the last ones.
    fn follow(&mut self, lines: &Receiver<String>) -> VecDeque<String> {
        let mut tail = VecDeque::new();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return tail,
            }
            self.tick(tail.back().map_or("", String::as_str));
        }
    }

    fn tick(&mut self, latest: &str) {
        let period = match self.style {
            Style::Terminal => TICK,
            Style::Plain => HEARTBEAT,
        };
        if self.shown.elapsed() < period {
            return;
        }
        self.shown = Instant::now();
        let line = format!("{}  {}  {latest}", self.label, self.elapsed());
        match self.style {
            Style::Terminal => self.rewrite(cut(&line, COLUMNS)),
            Style::Plain => eprintln!("{line}"),
        }
    }

    /// Says something on a line of its own.
    pub(super) fn note(&self, text: &str) {
        if self.style == Style::Terminal {
            self.rewrite("");
        }
        if !text.is_empty() {
            eprintln!("{}  {text}", self.label);
        }
    }

    pub(super) fn finish(self, outcome: &str) {
        self.note(&format!("{outcome} after {}", self.elapsed()));
    }

    fn elapsed(&self) -> String {
        duration(self.started.elapsed())
    }

    fn rewrite(&self, line: &str) {
        let mut stderr = io::stderr();
        // Nothing to do about a terminal that has gone away.
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    }
}

/// A command's output, line by line. It has a thread, because the time goes on without output.
fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for bytes in BufReader::new(reader).split(b'\n') {
            let Ok(bytes) = bytes else { return };
            let text = String::from_utf8_lossy(&bytes);
            // Programs rewrite their own lines too: the last state counts.
            let last = text.trim_end().rsplit('\r').next().unwrap_or_default();
            if sender.send(last.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..10 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn cut(line: &str, columns: usize) -> &str {
    let end = line.char_indices().nth(columns).map(|(index, _)| index);
    &line[..end.unwrap_or(line.len())]
}

const TICK: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(20);

/// How much of a failed command's output is shown.
const TAIL: usize = 20;

/// A line that is wider than the terminal could not be rewritten.
const COLUMNS: usize = 79;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_millis(1_234)), "1.2 s");
        assert_eq!(duration(Duration::from_millis(34_567)), "34 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(cut("añb", 2), "añ");
        assert_eq!(cut("ab", 5), "ab");
    }

    #[test]
    fn a_failing_command_is_named() {
        let mut progress = Progress::start("test".to_owned());
        let mut command = Command::new("false");
        let error = progress.watch(&mut command, "false").unwrap_err();
        assert!(error.to_string().starts_with("`false` failed"), "{error}");
    }
}
