//! `lbctl`: one file a verb.

mod apply;
mod backend;
mod check;
mod decap;
mod detach;
mod diff;
mod events;
mod file;
mod lookup;
mod output;
mod permission;
mod policy;
mod service;
mod status;
mod usage;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

pub use usage::explain;

use crate::api::{
    client,
    protocol::{Answer, Failure, Request},
};

/// Changes and explains what lbd does.
///
/// Exit codes: 0 ok, 1 negative answer or degraded, 2 wrong usage, 3 lbd does not answer, 4 not
/// found, 5 conflict, 6 time-out, 7 not permitted.
#[derive(Debug, Parser)]
#[command(name = "lbctl", version)]
pub struct Arguments {
    /// Socket of the daemon.
    #[arg(long, global = true, env = "LB_SOCKET", default_value = "/run/lb/lbd.sock")]
    socket: PathBuf,
    /// For people or for scripts. With `json`, errors are JSON too, on standard error.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables and sentences.
    Table,
    /// One versioned document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How the daemon is; exit code 1 if it is degraded.
    Status,
    /// What clients reach.
    #[command(subcommand)]
    Service(service::Verb),
    /// Servers behind services, named SERVICE/ADDRESS.
    #[command(subcommand)]
    Backend(backend::Verb),
    /// Checks a configuration file without a daemon.
    Check(check::Arguments),
    /// What a configuration file would change, and how many new flows it would move.
    Diff(file::Arguments),
    /// Makes the daemon take over a configuration file, until the one it was started with changes.
    Apply(file::Arguments),
    /// Which backend a flow goes to, and why.
    Lookup(lookup::Arguments),
    /// What has happened, and with --follow what happens.
    Events(events::Arguments),
    /// On a backend: removes the tunnel header from load balancers' packets.
    #[command(subcommand)]
    Decap(decap::Verb),
    /// Removes the data plane, also without a daemon: traffic is not balanced any more.
    Detach(detach::Arguments),
}

/// What a verb stands on.
struct Context {
    socket: PathBuf,
    format: Format,
}

impl Context {
    fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        client::ask(&self.socket, request)
    }
}

/// Carries out the command line.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let context = Context { socket: arguments.socket, format: arguments.output };
    let result = match arguments.verb {
        Verb::Status => status::run(&context),
        Verb::Service(verb) => service::run(&context, verb),
        Verb::Backend(verb) => backend::run(&context, verb),
        Verb::Check(arguments) => check::run(&context, &arguments),
        Verb::Diff(arguments) => diff::run(&context, &arguments),
        Verb::Apply(arguments) => apply::run(&context, &arguments),
        Verb::Lookup(arguments) => lookup::run(&context, &arguments),
        Verb::Events(arguments) => events::run(&context, &arguments),
        Verb::Decap(verb) => decap::run(&context, verb),
        Verb::Detach(arguments) => detach::run(&context, &arguments),
    };
    result.unwrap_or_else(|failure| {
        output::failure(context.format, &failure);
        ExitCode::from(failure.kind.exit_code())
    })
}

/// An answer of another kind than was asked for.
fn unexpected(answer: &Answer) -> Failure {
    Failure {
        kind: crate::api::protocol::FailureKind::Unreachable,
        message: format!("lbd is of another version: it answered {answer:?}"),
    }
}
