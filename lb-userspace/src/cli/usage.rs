//! Command lines that cannot be understood.

use std::{ffi::OsString, process::ExitCode};

use super::{Format, output};
use crate::api::protocol::{Failure, FailureKind};

/// Tells what is wrong with the command line, in the format that it asks for; or shows the help or
/// the version, if these were asked for.
#[must_use]
pub fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || !wants_json(std::env::args_os()) {
        // A reader that has gone away is no error.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX));
    }
    let kind = FailureKind::Usage;
    let message = first_paragraph(&error.render().to_string());
    output::failure(Format::Json, &Failure { kind, message });
    ExitCode::from(kind.exit_code())
}

/// Whether `--output` says so. The words were not understood as a whole, so nothing parsed it.
fn wants_json(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let joined = ["-ojson", "-o=json", "--output=json"];
    words.iter().any(|word| joined.contains(&word.as_str()))
        || words
            .windows(2)
            .any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json")
}

/// What comes before usage and hints, as one line.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn json_is_found_however_it_is_written() {
        let wants = |line: &str| wants_json(line.split(' ').map(OsString::from));
        for line in ["-o json dance", "-ojson", "dance --output=json", "--output json"] {
            assert!(wants(line), "{line}");
        }
        for line in ["dance", "-o table json", "json -o"] {
            assert!(!wants(line), "{line}");
        }
    }

    #[test]
    fn messages_are_one_line_without_hints() {
        let said = |line: &str| {
            let words = ["lbctl"].into_iter().chain(line.split(' '));
            let error = Arguments::try_parse_from(words).expect_err(line);
            first_paragraph(&error.render().to_string())
        };
        assert_eq!(said("dance"), "unrecognized subcommand 'dance'");
        assert_eq!(
            said("backend weight web/10.0.1.11"),
            "the following required arguments were not provided: <WEIGHT>"
        );
    }
}
