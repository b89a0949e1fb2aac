//! What can go wrong in the rig, in words that say where to look.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// A step of the rig that did not work.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// The kernel refused a namespace, a mount or a socket option.
    #[error("host {host}: cannot {action}: {source}")]
    Kernel {
        /// The host it happened in.
        host: String,
        /// What was tried.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// A command ended with a failure.
    #[error("host {host}: `{command}` ended with {status}\n{output}")]
    Command {
        /// The host it ran in.
        host: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr, or to stdout if that is empty.
        output: String,
    },

    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// A program that should go on running has ended.
    #[error("{program} ended with {status}\n{log}")]
    Ended {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        log: String,
    },

    /// A condition did not come true in time.
    #[error("waited {waited:?} for {what}; last seen: {last}")]
    TimedOut {
        /// The condition.
        what: String,
        /// How long it was given.
        waited: Duration,
        /// What was there instead.
        last: String,
    },

    /// A program of this workspace is not there.
    #[error("{program} is not built (looked in {folders:?}): {remedy}")]
    NotBuilt {
        /// The program.
        program: String,
        /// Where it was expected.
        folders: Vec<PathBuf>,
        /// What builds it.
        remedy: &'static str,
    },

    /// A program answered something that the rig does not understand.
    #[error("{program} answered what the rig cannot read: {problem}\n{answer}")]
    Answer {
        /// The program.
        program: &'static str,
        /// What is wrong with the answer.
        problem: String,
        /// The answer.
        answer: String,
    },

    /// The rig cannot work for this user or in this place.
    #[error("{0}")]
    Unfit(&'static str),
}
