//! `lbd`: the daemon.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use lb_userspace::{config::Config, daemon, datapath::map_memory};
use tracing_subscriber::EnvFilter;

/// Balances TCP and UDP in the kernel; runs in the foreground and logs to standard error.
///
/// SIGHUP reads the configuration again. SIGTERM stops the daemon and leaves the data plane
/// serving; `lbctl detach` removes that.
#[derive(Debug, Parser)]
#[command(name = "lbd", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Checks the configuration, tells the memory that it will take, and exits.
    #[arg(long)]
    check: bool,
    /// What to log: error, warn, info, debug, trace, or filters as of tracing.
    #[arg(long, env = "LB_LOG", default_value = "info,netlink_proto=error")]
    log: String,
    /// How to log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.check { check(&arguments.config) } else { serve(&arguments) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &std::path::Path) -> Result<(), String> {
    let config = Config::load(file).map_err(|error| error.to_string())?;
    println!("{}: ok", file.display());
    let maps = map_memory::planned(&config.daemon.limits);
    let line = |name: &str, bytes| println!("{name:<18}{:>12}", map_memory::mebibytes(bytes));
    line("memory of all maps", map_memory::sum(&maps));
    maps.iter().filter(|map| map.bytes > 0).for_each(|map| line(map.name, map.bytes));
    Ok(())
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let filter = EnvFilter::try_new(&arguments.log)
        .map_err(|error| format!("--log {}: {error}", arguments.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    // Two threads: checks go on while tables are made.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("starting: {error}"))?;
    let result = runtime.block_on(daemon::run(&arguments.config));
    runtime.shutdown_background();
    result.map_err(|error| error.to_string())
}
