//! The figures as tables and as JSON.

use std::io::IsTerminal as _;

use serde::Serialize;

use super::{
    compute::{Figures, Row},
    kernel::{Commit, Many},
};

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) tables: Vec<Row>,
    pub(super) commits: Vec<Commit>,
    /// Many services at once.
    pub(super) many: Option<Many>,
}

impl Report {
    pub(super) fn print(&self) {
        println!("Tables. Movement is over the least that has to move.\n");
        println!(
            "{:>7} {:<6}{:<7}{:>8}{:>9}{:>9}{:>8}{:>7} |{:>6}{:>6}{:>6} |{:>8}{:>7}{:>8}",
            "members",
            "weight",
            "",
            "slots",
            "build ms",
            "update",
            "fullest",
            "least",
            "down",
            "up",
            "half",
            "removed",
            "added",
            "halved"
        );
        for row in &self.tables {
            for (name, figures) in [("lb", &row.ours), ("maglev", &row.maglev)] {
                println!("{:>7} {:<6} {name:<6}{}", row.members, row.weights, line(figures));
            }
        }
        println!(
            "\nFrom the beginning of a commit, one backend down or up, microseconds, medians.\n"
        );
        println!(
            "{:>7}{:>9}{:>12}{:>22}{:>9}",
            "members", "slots", "committed", "seen by a packet", "worst"
        );
        for commit in &self.commits {
            println!(
                "{:>7}{:>9}{:>12.0}{:>22.0}{:>9.0}",
                commit.members, commit.slots, commit.commit_us, commit.seen_us, commit.worst_us
            );
        }
        if let Some(many) = &self.many {
            println!(
                "\n{} services with {} backends each: loaded in {:.0} ms, again without a change \
                 in {:.1} ms,\none backend down in each in {:.0} ms, {} slots moved ({:.3} of the \
                 least)",
                many.services,
                many.backends,
                many.load_ms,
                many.same_ms,
                many.down_ms,
                many.moved,
                many.moved_over_least
            );
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn line(figures: &Figures) -> String {
    format!(
        "{:>8}{:>9.2}{:>9.2}{:>8.3}{:>7.3} |{:>6.2}{:>6.2}{:>6.2} |{:>8.2}{:>7.2}{:>8.2}",
        figures.slots,
        figures.build_ms,
        figures.update_ms,
        figures.fullest,
        figures.emptiest,
        figures.down,
        figures.up,
        figures.halved,
        figures.removed,
        figures.added,
        figures.configured
    )
}

/// Says on a terminal what is being measured.
pub(super) fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        let verb = if what.is_empty() { "" } else { "measuring " };
        eprint!("\r\x1b[K{verb}{what}");
    }
}
