//! Errors of a configuration: file, line, field, what is wrong.

use std::{io, ops::Range, path::Path};

/// Why a configuration is refused, as one sentence with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {}{message}", self.place(), self.named())]
pub struct ConfigError {
    /// Name of the file.
    pub file: String,
    /// Line, counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// Path of the field, as in `service.backend.weight`; empty where the syntax is broken.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn unreadable(file: &Path, source: &io::Error) -> Self {
        Self {
            file: file.display().to_string(),
            line: 0,
            field: String::new(),
            message: format!("cannot be read: {source}"),
        }
    }

    pub(super) fn syntax(file: &str, text: &str, source: &toml::de::Error) -> Self {
        Self {
            file: file.to_owned(),
            line: source.span().map_or(0, |span| line(text, &span)),
            field: path(source),
            message: source.message().trim_end().replace('\n', " "),
        }
    }

    fn place(&self) -> String {
        if self.line == 0 { String::new() } else { format!(":{}", self.line) }
    }

    fn named(&self) -> String {
        if self.field.is_empty() { String::new() } else { format!("{}: ", self.field) }
    }
}

/// A fault in a field, before file and line are known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) field: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn at(self, file: &str, text: &str) -> ConfigError {
        ConfigError {
            file: file.to_owned(),
            line: line(text, &self.span),
            field: self.field,
            message: self.message,
        }
    }
}

/// The field that an error is about. `toml` tells it only where it has no text to quote.
fn path(source: &toml::de::Error) -> String {
    let mut source = source.clone();
    source.set_input(None);
    let text = source.to_string();
    let named = text.lines().last().and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    named.unwrap_or_default().to_owned()
}

fn line(text: &str, span: &Range<usize>) -> usize {
    let before = &text.as_bytes()[..span.start.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
