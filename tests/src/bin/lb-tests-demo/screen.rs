//! What people see.

use std::io::{IsTerminal as _, Write as _, stdout};

use crate::{
    book::{Book, Expectation},
    paint::Paint,
};

/// The place that everything is shown on.
///
/// Nothing is ever hidden or switched off on the terminal, so it needs no cleaning up if the demo
/// is interrupted.
#[derive(Debug)]
pub(crate) struct Screen {
    kind: Kind,
    paint: Paint,
    /// Lines of the table that is at the bottom, and may be drawn over.
    drawn: usize,
    /// The table that a screen without live tables shows when something follows it.
    pending: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Tables change in place.
    Terminal,
    /// A table is shown once, in its last state.
    Log,
    Silent,
}

impl Screen {
    pub(crate) fn stdout() -> Self {
        let kind = if stdout().is_terminal() { Kind::Terminal } else { Kind::Log };
        Self { kind, paint: Paint::for_stdout(), drawn: 0, pending: Vec::new() }
    }

    pub(crate) fn silent() -> Self {
        Self { kind: Kind::Silent, paint: Paint::Plain, drawn: 0, pending: Vec::new() }
    }

    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Whether it makes sense to prepare tables.
    pub(crate) fn is_watched(&self) -> bool {
        self.kind != Kind::Silent
    }

    pub(crate) fn title(&mut self, text: &str) {
        let line = self.paint.bold(&format!("\n━━ {text} "));
        self.print(&line);
    }

    pub(crate) fn heading(&mut self, number: usize, text: &str) {
        let line = self.paint.bold(&self.paint.cyan(&format!("\n{number}. {text}")));
        self.print(&line);
    }

    pub(crate) fn explanation(&mut self, text: &str) {
        let line = self.paint.faint(&format!("   {text}"));
        self.print(&line);
    }

    /// Something that the demo does now.
    pub(crate) fn event(&mut self, text: &str) {
        let line = format!("   {} {text}", self.paint.yellow("»"));
        self.print(&line);
    }

    pub(crate) fn expectation(&mut self, Expectation { text, held, seen, .. }: &Expectation) {
        let mark = if *held { self.paint.green("✓") } else { self.paint.red("✗") };
        let line = format!("   {mark} {text}: {}", self.paint.faint(seen));
        self.print(&line);
    }

    /// Shows a table, over the one before if nothing else was shown since.
    pub(crate) fn table(&mut self, lines: Vec<String>) {
        match self.kind {
            Kind::Silent => {}
            Kind::Log => self.pending = lines,
            Kind::Terminal => {
                let mut text = String::new();
                if self.drawn > 0 {
                    text = format!("\x1b[{}A", self.drawn);
                }
                self.drawn = lines.len();
                for line in lines {
                    text.push_str(&format!("\r{line}\x1b[K\n"));
                }
                write(&text);
            }
        }
    }

    pub(crate) fn summary(&mut self, book: &Book) {
        self.title("Summary");
        let all = book.expectations();
        let mut acts: Vec<_> = all.iter().map(|expectation| &expectation.act).collect();
        acts.dedup();
        for act in acts {
            let of_act = all.iter().filter(|expectation| expectation.act == *act);
            let (held, count) = of_act.fold((0, 0), |(held, count), expectation| {
                (held + usize::from(expectation.held), count + 1)
            });
            let mark = if held == count { self.paint.green("✓") } else { self.paint.red("✗") };
            self.print(&format!("   {mark} {act:48} {held} of {count} held"));
        }
        let verdict = if book.all_held() {
            self.paint.green("Everything held.")
        } else {
            self.paint.red(&format!("Not everything held:\n{}", book.failures()))
        };
        self.print(&format!("\n   {verdict}"));
    }

    fn print(&mut self, line: &str) {
        if self.kind == Kind::Silent {
            return;
        }
        self.drawn = 0;
        for line in std::mem::take(&mut self.pending) {
            write(&format!("{line}\n"));
        }
        write(&format!("{line}\n"));
    }
}

/// A reader that went away is no reason to stop: the exit code still tells the outcome.
fn write(text: &str) {
    let mut output = stdout().lock();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}
