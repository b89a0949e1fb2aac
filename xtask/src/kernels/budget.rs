//! How many instructions the verifier may take for a program, by compiler and kernel series.
//!
//! The file is a table under the name of each compiler, as it is printed:
//!
//! ```text
//! [rustc version 1.97.0-nightly (e50aa6fba 2026-05-19)]
//! program     6.1   6.12    7.2
//! balancer  10926  10926  10811
//! ```

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

use super::grid::{Grid, NOTHING};

/// A quarter of what any kernel since 5.2 takes (`BPF_COMPLEXITY_LIMIT_INSNS`).
const HARD_LIMIT: u32 = 250_000;
/// Growth over the record.
const ALLOWED_PERCENT: u32 = 10;

/// What was counted on a kernel.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Counted {
    /// The compiler, as the objects name it: others lay code out in another way.
    pub(super) compiler: String,
    /// Verified instructions by program.
    pub(super) instructions: BTreeMap<String, u32>,
}

/// All records.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Budgets(BTreeMap<String, Compiler>);

/// Records of a compiler's programs by kernel series.
type Compiler = BTreeMap<String, BTreeMap<String, u32>>;

impl Counted {
    /// From the lines that tests report.
    ///
    /// # Errors
    /// If there is no compiler or no program.
    pub(super) fn of_report(lines: &[String]) -> Result<Self> {
        let mut counted = Self::default();
        for line in lines {
            match line.split_once(' ') {
                Some(("compiler", name)) => name.clone_into(&mut counted.compiler),
                Some(("instructions", rest)) => {
                    let (program, count) = rest.split_once(' ').context("no number")?;
                    let count = count.parse().with_context(|| format!("no number: {line}"))?;
                    counted.instructions.insert(program.to_owned(), count);
                }
                _ => {}
            }
        }
        let is_whole = !counted.compiler.is_empty() && !counted.instructions.is_empty();
        ensure!(is_whole, "the guest reported no instructions: {lines:?}");
        Ok(counted)
    }

    /// Programs over the limit that holds whatever was recorded.
    fn excesses(&self) -> impl Iterator<Item = String> {
        let over = self.instructions.iter().filter(|(_, count)| **count > HARD_LIMIT);
        over.map(|(program, count)| format!("{program}: {count} instructions of {HARD_LIMIT}"))
    }
}

impl Budgets {
    /// Whether there are records to compare with: the newest kernel is another one every few
    /// weeks, and that alone is no failure.
    pub(super) fn know(&self, series: &str, compiler: &str) -> bool {
        self.of(series, compiler).is_some()
    }

    /// What speaks against these numbers.
    pub(super) fn complaints(&self, series: &str, counted: &Counted) -> Vec<String> {
        let mut complaints: Vec<_> = counted.excesses().collect();
        let Some(recorded) = self.of(series, &counted.compiler) else {
            return complaints;
        };
        for (program, count) in &counted.instructions {
            match recorded.get(program) {
                None => complaints.push(format!("{program} has no budget")),
                Some(budget) if *count > budget + budget * ALLOWED_PERCENT / 100 => {
                    complaints.push(format!("{program}: {count} instructions, {budget} recorded"));
                }
                Some(_) => {}
            }
        }
        let gone = recorded.keys().filter(|program| !counted.instructions.contains_key(*program));
        complaints.extend(gone.map(|program| format!("{program} has a budget and is not there")));
        complaints
    }

    /// What is recorded for a program.
    pub(super) fn recorded(&self, series: &str, compiler: &str, program: &str) -> Option<u32> {
        self.of(series, compiler)?.get(program).copied()
    }

    /// Replaces what is recorded for a series.
    pub(super) fn record(&mut self, series: &str, counted: &Counted) {
        let compiler = self.0.entry(counted.compiler.clone()).or_default();
        compiler.insert(series.to_owned(), counted.instructions.clone());
    }

    /// Forgets the series that are not among these: of newest kernels that there are no more.
    pub(super) fn keep(&mut self, series: &[String]) {
        for compiler in self.0.values_mut() {
            compiler.retain(|recorded, _| series.contains(recorded));
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The line that is not as described above.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut budgets = Self::default();
        let (mut compiler, mut columns) = (None, Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                compiler = Some(budgets.0.entry(name.to_owned()).or_default());
                columns.clear();
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            match &mut compiler {
                None => bail!("line {number} is under no compiler: {line}"),
                Some(_) if columns.is_empty() => columns = words[1..].to_vec(),
                Some(compiler) => read_row(&words, &columns, compiler)
                    .with_context(|| format!("line {number}: {line}"))?,
            }
        }
        Ok(budgets)
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let mut text = HEADING.to_owned();
        for (name, compiler) in &self.0 {
            let mut grid = Grid::default();
            for (series, programs) in compiler {
                for (program, count) in programs {
                    grid.put(program, series, count.to_string());
                }
            }
            text.push_str(&format!("\n[{name}]\n{}", grid.text("program")));
        }
        text
    }

    fn of(&self, series: &str, compiler: &str) -> Option<&BTreeMap<String, u32>> {
        self.0.get(compiler)?.get(series)
    }
}

fn read_row(words: &[&str], columns: &[&str], compiler: &mut Compiler) -> Result<()> {
    ensure!(words.len() == columns.len() + 1, "not as many cells as columns");
    for (series, cell) in columns.iter().zip(&words[1..]) {
        if *cell != NOTHING {
            let count = cell.parse().with_context(|| format!("{cell} is no number"))?;
            let programs = compiler.entry((*series).to_owned()).or_default();
            programs.insert(words[0].to_owned(), count);
        }
    }
    Ok(())
}

const HEADING: &str = "\
# Instructions that each kernel's verifier processes, by compiler.
# Written by `cargo xtask kernels --bless`, which lets 10 % of growth through without it.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(programs: &[(&str, u32)]) -> Counted {
        let instructions = programs.iter().map(|(name, count)| ((*name).to_owned(), *count));
        Counted { compiler: "rustc 1".into(), instructions: instructions.collect() }
    }

    fn budgets(programs: &[(&str, u32)]) -> Budgets {
        let mut budgets = Budgets::default();
        budgets.record("6.1", &counted(programs));
        budgets
    }

    #[test]
    fn a_tenth_of_growth_is_let_through() {
        let budgets = budgets(&[("balancer", 1000)]);
        assert_eq!(budgets.complaints("6.1", &counted(&[("balancer", 1100)])), [""; 0]);
        let complaints = budgets.complaints("6.1", &counted(&[("balancer", 1101)]));
        assert_eq!(complaints, ["balancer: 1101 instructions, 1000 recorded"]);
    }

    #[test]
    fn programs_come_and_go_only_with_the_record() {
        let budgets = budgets(&[("balancer", 1000), ("pass", 2)]);
        let complaints = budgets.complaints("6.1", &counted(&[("balancer", 10), ("clock", 2)]));
        assert_eq!(complaints, ["clock has no budget", "pass has a budget and is not there"]);
    }

    #[test]
    fn the_hard_limit_holds_without_a_record_and_against_it() {
        let (at, over) = (counted(&[("balancer", 250_000)]), counted(&[("balancer", 250_001)]));
        for budgets in [budgets(&[("balancer", 250_001)]), Budgets::default()] {
            assert_eq!(budgets.complaints("6.1", &at), [""; 0]);
            assert_eq!(budgets.complaints("6.1", &over).len(), 1);
        }
    }

    #[test]
    fn other_kernels_and_compilers_are_not_compared() {
        let budgets = budgets(&[("balancer", 10)]);
        let grown = counted(&[("balancer", 1000)]);
        assert!(budgets.know("6.1", "rustc 1") && !budgets.know("6.1", "rustc 2"));
        assert_eq!(budgets.complaints("6.12", &grown), [""; 0]);
        let other = Counted { compiler: "rustc 2".into(), ..grown };
        assert_eq!(budgets.complaints("6.1", &other), [""; 0]);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut written = budgets(&[("balancer", 1000), ("pass", 2)]);
        written.record("6.12", &counted(&[("balancer", 900)]));
        let other = Counted { compiler: "rustc 2 (x)".into(), ..counted(&[("pass", 3)]) };
        written.record("6.1", &other);
        let read = Budgets::parse(&written.text()).expect("as written");
        assert_eq!(read, written);
        assert_eq!(read.recorded("6.12", "rustc 1", "balancer"), Some(900));
        assert_eq!(read.recorded("6.12", "rustc 1", "pass"), None);
    }

    #[test]
    fn series_that_are_gone_are_forgotten() {
        let mut budgets = budgets(&[("pass", 2)]);
        budgets.record("7.2", &counted(&[("pass", 2)]));
        budgets.keep(&["7.2".to_owned()]);
        assert!(budgets.know("7.2", "rustc 1") && !budgets.know("6.1", "rustc 1"));
    }

    #[test]
    fn a_broken_file_is_told_with_its_line() {
        let error = |text: &str| format!("{:#}", Budgets::parse(text).unwrap_err());
        assert!(error("pass 2").starts_with("line 1 is under no compiler"));
        assert!(error("[x]\nprogram 6.1\npass 2 3\n").starts_with("line 3: pass 2 3"));
        assert!(error("[x]\nprogram 6.1\npass two\n").contains("two is no number"));
    }

    #[test]
    fn a_report_without_numbers_is_an_error() {
        let lines = ["compiler rustc 1", "instructions pass 2"].map(str::to_owned);
        assert_eq!(Counted::of_report(&lines).expect("whole"), counted(&[("pass", 2)]));
        assert!(Counted::of_report(&lines[..1]).is_err());
        assert!(Counted::of_report(&["instructions pass x".to_owned()]).is_err());
    }
}
