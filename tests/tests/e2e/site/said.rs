//! Programs that run to their end.

use std::process::Command;

use lb_tests::{Daemon, waiting};

use super::PATIENCE;

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program that ends by itself.
pub(crate) fn by(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Runs a program that should end by itself, but may not.
pub(crate) fn run_to_the_end(name: &str, command: Command) -> Said {
    let daemon = Daemon::start(name, command).unwrap();
    let status = waiting::until(&format!("the end of {name}"), PATIENCE, || {
        daemon.exit_status().ok_or_else(|| format!("it runs:\n{}", daemon.log()))
    });
    Said {
        code: status.unwrap().code().unwrap_or(-1),
        stdout: daemon.output(),
        stderr: daemon.log(),
    }
}
