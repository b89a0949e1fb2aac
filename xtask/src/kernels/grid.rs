//! Tables of words in aligned columns.

use std::collections::{BTreeMap, BTreeSet};

/// Cells by row and column.
#[derive(Debug, Default)]
pub(super) struct Grid {
    cells: BTreeMap<String, BTreeMap<String, String>>,
}

/// What stands where nothing is.
pub(super) const NOTHING: &str = "-";

impl Grid {
    pub(super) fn put(&mut self, row: &str, column: &str, cell: String) {
        self.cells.entry(row.to_owned()).or_default().insert(column.to_owned(), cell);
    }

    /// The table with a heading; rows in the order of their names, columns, which are kernel
    /// series, in that of their numbers.
    pub(super) fn text(&self, corner: &str) -> String {
        let columns: BTreeSet<_> = self.cells.values().flat_map(BTreeMap::keys).collect();
        let mut columns: Vec<&String> = columns.into_iter().collect();
        columns.sort_by_key(|series| numbers(series));
        let mut rows = vec![line(corner, columns.iter().map(|column| column.as_str()))];
        for (row, cells) in &self.cells {
            let cell = |column: &&String| cells.get(*column).map_or(NOTHING, String::as_str);
            rows.push(line(row, columns.iter().map(cell)));
        }
        aligned(&rows)
    }
}

fn line<'a>(first: &'a str, rest: impl Iterator<Item = &'a str>) -> Vec<String> {
    std::iter::once(first).chain(rest).map(str::to_owned).collect()
}

fn numbers(series: &str) -> Vec<u32> {
    series.split('.').map(|number| number.parse().unwrap_or(u32::MAX)).collect()
}

/// The first column to the left, all others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let row = |cells: &Vec<String>| {
        let mut text = format!("{:<1$}", cells[0], widths[0]);
        for (cell, width) in cells.iter().zip(&widths).skip(1) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        text.push('\n');
        text
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_in_the_order_of_their_numbers() {
        let mut grid = Grid::default();
        grid.put("balancer", "6.12", "9".into());
        grid.put("balancer", "6.1", "10926".into());
        grid.put("pass", "6.1", "2".into());
        assert_eq!(
            grid.text("program"),
            "program     6.1  6.12\n\
             balancer  10926     9\n\
             pass          2     -\n"
        );
    }
}
