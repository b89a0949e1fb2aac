//! `command` and `weight_from_exit`.

use std::path::PathBuf;

use super::table::Table;
use crate::{
    config::check::fields::Checked,
    model::{ExecProbe, ExitCode},
};

/// Which program is run.
pub(super) fn exec(table: &Table) -> Checked<ExecProbe> {
    let Some(command) = &table.raw.command else {
        let message = "is missing: write the program and its arguments, as in [\"/usr/bin/check\", \
                       \"--quick\"]";
        return Err(table.missing("command", message));
    };
    let mut words = command.get_ref().iter();
    let Some(program) = words.next() else {
        return Err(table.fault(command, "command", "names no program"));
    };
    if let Some(word) = command.get_ref().iter().find(|word| word.get_ref().contains('\0')) {
        return Err(table.fault(word, "command", "no argument of a program can contain NUL"));
    }
    let path = PathBuf::from(program.get_ref());
    if !path.is_absolute() {
        let message = format!("`{}` is not an absolute path", program.get_ref().escape_debug());
        return Err(table.fault(program, "command", message));
    }
    let is_weight = table.raw.weight_from_exit.as_ref().is_some_and(|raw| *raw.get_ref());
    Ok(ExecProbe {
        program: path,
        arguments: words.map(|word| word.get_ref().clone()).collect(),
        exit_code: if is_weight { ExitCode::Weight } else { ExitCode::Verdict },
    })
}
