//! Where the acts play: the running parts, the audience's view, and the book of expectations.

use std::time::{Duration, Instant};

use lb_tests::{Daemon, RigError, clock, lbctl::BackendRow, report::Interval, waiting};

use crate::{acts::Act, book::Book, forward::Forward, lab::Lab, screen::Screen, table};

/// All that an act works with.
pub(crate) struct Stage<'a> {
    pub(crate) lab: Lab,
    screen: &'a mut Screen,
    book: &'a mut Book,
    view: View,
}

/// What the live table shows.
struct View {
    /// Requests that started after this are shown.
    mark: u64,
    /// The last answer of lbctl; it stays while lbd is away.
    rows: Vec<BackendRow>,
    drawn: Instant,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        forward: Forward,
        screen: &'a mut Screen,
        book: &'a mut Book,
    ) -> Result<Self, RigError> {
        book.begin(&format!("{forward:?}, the network"));
        screen.explanation("A client, a router, a balancer and five backends are built ...");
        let view = View { mark: 0, rows: Vec::new(), drawn: Instant::now() };
        Ok(Self { lab: Lab::new(forward)?, screen, book, view })
    }

    /// An act begins.
    pub(crate) fn begin(&mut self, number: usize, act: &Act) {
        self.book.begin(&format!("{:?}, {}", self.lab.forward, act.title));
        self.screen.heading(number, act.title);
        for line in act.explanation.lines() {
            self.screen.explanation(line.trim_start());
        }
        self.mark();
    }

    /// The table counts from now on. Returns the time.
    pub(crate) fn mark(&mut self) -> u64 {
        self.view.mark = clock::now_ms();
        self.view.mark
    }

    /// Tells what is done now.
    pub(crate) fn event(&mut self, text: &str) {
        self.screen.event(text);
    }

    /// Tells whether something was as it should be, and what was seen.
    pub(crate) fn expect(&mut self, text: &str, held: bool, seen: &str) {
        self.screen.expectation(self.book.expect(text, held, seen));
    }

    /// Expects that all requests of both families since `mark` succeed.
    pub(crate) fn expect_no_failures(&mut self, when: &str, mark: u64) -> Result<(), RigError> {
        let lab = &self.lab;
        let settled: Vec<Interval> =
            lab.web.iter().map(|traffic| traffic.load.settle(mark)).collect::<Result<_, _>>()?;
        let answered: u64 = settled.iter().map(Interval::answered).sum();
        let failed: Vec<_> = settled.iter().flat_map(|all| &all.failed).collect();
        let mut seen = format!("{answered} answered, {} failed", failed.len());
        if let Some(first) = failed.first() {
            seen.push_str(&format!(", the first: {first:?}"));
        }
        let text = format!("no request fails {when}");
        self.expect(&text, failed.is_empty() && answered > 0, &seen);
        Ok(())
    }

    /// Waits for a condition while the table lives, and as long as lbd does.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut attempt: impl FnMut(&Lab) -> Result<T, String>,
    ) -> Result<T, RigError> {
        let Self { lab, screen, view, .. } = self;
        let attempt = || {
            view.draw_if_due(lab, screen);
            attempt(lab)
        };
        let outcome = match &lab.lbd {
            Some(lbd) => lbd.until(what, patience, attempt),
            None => waiting::until(what, patience, attempt),
        };
        view.draw(lab, screen);
        outcome
    }

    /// Lets `count` requests of each family that start from now on be answered, or fail.
    pub(crate) fn watch_requests(&mut self, count: u64) -> Result<(), RigError> {
        let mark = clock::now_ms();
        self.until(&format!("{count} requests"), Duration::from_secs(20), |lab| {
            let families = lab.web_since(mark).map_err(|error| error.to_string())?;
            let done = |all: &Interval| all.answered() + all.failed.len() as u64;
            let least = families.iter().map(done).min().unwrap_or(0);
            if least >= count { Ok(()) } else { Err(format!("{least} so far")) }
        })
    }

    /// An error with what lbd said last.
    pub(crate) fn explain(&self, error: &RigError) -> String {
        let log = self.lab.lbd.as_ref().map(Daemon::log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("{error}\nlbd's last words:\n{}", tail.join("\n"))
    }
}

impl View {
    fn draw_if_due(&mut self, lab: &Lab, screen: &mut Screen) {
        if self.drawn.elapsed() >= BETWEEN_DRAWINGS {
            self.draw(lab, screen);
        }
    }

    /// What cannot be drawn is not worth an error: whoever waits will see it too.
    fn draw(&mut self, lab: &Lab, screen: &mut Screen) {
        if !screen.is_watched() {
            return;
        }
        self.drawn = Instant::now();
        if let Ok(rows) = lab.backends() {
            self.rows = rows;
        }
        if let Ok(families) = lab.web_since(self.mark)
            && families.iter().any(|seen| seen.answered() > 0 || !seen.failed.is_empty())
        {
            screen.table(table::lines(lab, &self.rows, &families, screen.paint()));
        }
    }
}

const BETWEEN_DRAWINGS: Duration = Duration::from_millis(250);
const LOG_LINES: usize = 15;
