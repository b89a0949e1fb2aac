//! The live table: who gets which part of the requests.

use lb_tests::{address::Family, lbctl::BackendRow, report::Interval};

use crate::{
    lab::{BACKENDS, Lab, number_of},
    paint::Paint,
};

/// The table: what lbctl says, and what was seen of each family.
pub(crate) fn lines(
    lab: &Lab,
    rows: &[BackendRow],
    families: &[Interval],
    paint: Paint,
) -> Vec<String> {
    let columns = || lab.web.iter().zip(families);
    let mut lines = vec![paint.faint(&format!(
        "   {:8}{}",
        "",
        columns().map(|(traffic, _)| heading(traffic.family)).collect::<String>()
    ))];
    for number in 1..=BACKENDS {
        let mut line = format!("   be{number:<6}");
        let mut known = false;
        for (traffic, seen) in columns() {
            let row = rows.iter().find(|row| {
                row.service == traffic.service && number_of(row.address) == Some(number)
            });
            known |= row.is_some();
            line.push_str(&cell(row, seen.share(&format!("be{number}")), paint));
        }
        if known {
            lines.push(line);
        }
    }
    let totals: String = columns().map(|(_, seen)| total(seen, paint)).collect();
    lines.push(format!("   {:8}{totals}", ""));
    lines
}

fn heading(family: Family) -> String {
    format!("{:9}{:>6}   {:WIDTH$}   ", family.to_string(), "share", "seen")
}

fn cell(row: Option<&BackendRow>, seen: f64, paint: Paint) -> String {
    let (state, share) = row.map_or(("", 0.0), |row| (&*row.state, row.slots_share));
    let padded = format!("{state:9}");
    let state = match state {
        "up" => paint.green(&padded),
        "down" => paint.red(&padded),
        _ => paint.yellow(&padded),
    };
    let figure = format!("{:5.1}%", seen * 100.0);
    let bar = format!("{:width$}", bar(seen), width = WIDTH - figure.len() - 1);
    format!("{state}{:5.1}%   {} {figure}   ", share * 100.0, paint.cyan(&bar))
}

fn total(seen: &Interval, paint: Paint) -> String {
    let failed = format!("{} failed", seen.failed.len());
    let padded = format!("{failed:WIDTH$}   ");
    let failed = if seen.failed.is_empty() { paint.faint(&padded) } else { paint.red(&padded) };
    format!("{:>7} answered, {failed}", seen.answered())
}

/// Columns for what was seen: a bar and a figure. The whole table fits into 80 columns, or its
/// redrawing would count its lines wrongly.
const WIDTH: usize = 13;

/// A bar that is full at one half, in eighths of a character.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let full = WIDTH - 7;
    let eighths = (share.clamp(0.0, 0.5) * 2.0 * (full * 8) as f64).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_share() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(0.25).chars().count(), 3);
        assert_eq!(bar(0.5).chars().count(), 6);
        assert_eq!(bar(1.0), bar(0.5));
    }

    #[test]
    fn every_cell_has_the_width_of_the_heading() {
        let width = |text: String| text.chars().count();
        let expected = width(heading(Family::V4));
        assert!(11 + 2 * expected <= 80);
        assert_eq!(width(cell(None, 0.3, Paint::Plain)), expected);
        assert_eq!(width(cell(None, 1.0, Paint::Plain)), expected);
        assert_eq!(width(total(&Interval::default(), Paint::Plain)), expected);
    }
}
