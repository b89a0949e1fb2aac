//! Printing: tables for people, documents for scripts.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::Format;
use crate::api::protocol::{Failure, VERSION};

/// Prints a document as JSON.
pub(super) fn json(document: &impl Serialize) {
    // A document has string keys and finite numbers only, so it can always be written.
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    line(&text);
}

/// Prints a line. A reader that has gone away (`| head`) is no error.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints that something is done.
pub(super) fn done(format: Format, message: &str) {
    #[derive(Serialize)]
    struct Done<'a> {
        version: u32,
        message: &'a str,
    }
    match format {
        Format::Table => line(message),
        Format::Json => json(&Done { version: VERSION, message }),
    }
}

/// Prints why something is not done.
pub(super) fn failure(format: Format, failure: &Failure) {
    #[derive(Serialize)]
    struct Failed<'a> {
        version: u32,
        error: &'a Failure,
    }
    let text = match format {
        Format::Table => format!("error: {}", failure.message),
        Format::Json => {
            serde_json::to_string(&Failed { version: VERSION, error: failure }).unwrap_or_default()
        }
    };
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints what is done but may not be meant.
pub(super) fn warning(format: Format, message: &str) {
    #[derive(Serialize)]
    struct Warning<'a> {
        version: u32,
        warning: &'a str,
    }
    let text = match format {
        Format::Table => format!("warning: {message}"),
        Format::Json => {
            let document = Warning { version: VERSION, warning: message };
            serde_json::to_string(&document).unwrap_or_default()
        }
    };
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints rows under a header; the columns numbered in `right` are aligned there.
pub(super) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in table.lines() {
        line(row.trim_end());
    }
}

/// A number of bytes, packets or flows in three digits and a unit.
pub(super) fn short(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["", "k", "M", "G", "T"] {
        if value < 1000.0 {
            return if unit.is_empty() { number.to_string() } else { format!("{value:.1}{unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1}P")
}

/// A number of bytes of memory.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A time span in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(short(999), "999");
        assert_eq!(short(1_234_567), "1.2M");
        assert_eq!(span(59), "59s");
        assert_eq!(span(3_725), "1h02m");
        assert_eq!(span(90_000), "1d01h");
    }
}
