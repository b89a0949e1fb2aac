//! What was expected, and whether it held.

use std::fmt::Write as _;

/// All expectations of a run.
#[derive(Debug, Default)]
pub(crate) struct Book {
    act: String,
    expectations: Vec<Expectation>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// Where it belongs.
    pub(crate) act: String,
    /// What should be true.
    pub(crate) text: String,
    /// Whether it was.
    pub(crate) held: bool,
    /// What was seen.
    pub(crate) seen: String,
}

impl Book {
    /// What follows belongs to this act.
    pub(crate) fn begin(&mut self, act: &str) {
        self.act = act.into();
    }

    /// Notes an expectation and returns it, to be shown.
    pub(crate) fn expect(&mut self, text: &str, held: bool, seen: &str) -> &Expectation {
        self.expectations.push(Expectation {
            act: self.act.clone(),
            text: text.into(),
            held,
            seen: seen.into(),
        });
        self.expectations.last().expect("one was just added")
    }

    pub(crate) fn expectations(&self) -> &[Expectation] {
        &self.expectations
    }

    pub(crate) fn all_held(&self) -> bool {
        self.expectations.iter().all(|expectation| expectation.held)
    }

    /// What did not hold, a line each; empty if all did.
    pub(crate) fn failures(&self) -> String {
        let mut text = String::new();
        for Expectation { act, text: expected, seen, .. } in
            self.expectations.iter().filter(|expectation| !expectation.held)
        {
            writeln!(text, "{act}: expected that {expected}; seen: {seen}")
                .expect("text takes everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_are_told() {
        let mut book = Book::default();
        book.begin("l2, act 1");
        book.expect("water is wet", true, "wet");
        assert!(book.all_held() && book.failures().is_empty());
        book.expect("fire is cold", false, "hot");
        assert!(!book.all_held());
        assert_eq!(book.failures(), "l2, act 1: expected that fire is cold; seen: hot\n");
    }
}
