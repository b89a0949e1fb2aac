//! `lbctl decap …`

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde::Serialize;

use super::{Context, Format, output};
use crate::{
    api::protocol::{Failure, FailureKind, VERSION},
    config::XdpMode,
    datapath::attach::AttachError,
    decap::{self, Decap, DecapError},
    netlink,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Opens tunnels on an interface, until it is detached.
    Attach(Attach),
    /// Closes tunnels on an interface.
    Detach {
        /// The interface.
        interface: String,
        #[command(flatten)]
        pins: PinDir,
    },
    /// What was opened and what was refused.
    Show {
        #[command(flatten)]
        pins: PinDir,
    },
}

#[derive(Args, Debug)]
pub(super) struct Attach {
    /// The interface by which tunnelled packets come in.
    interface: String,
    /// Load balancers that may send tunnels here; may be given more than once.
    #[arg(long, required = true, value_name = "PREFIX", value_parser = prefix)]
    from: Vec<IpNet>,
    /// Services' addresses that this machine has; all addresses that it has now, if not given.
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<IpAddr>,
    /// Keeps running and follows changes of this machine's addresses.
    #[arg(long, conflicts_with = "to")]
    watch: bool,
    /// How the program is attached.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    #[command(flatten)]
    pins: PinDir,
}

#[derive(Args, Debug)]
pub(super) struct PinDir {
    /// Directory on a BPF file system.
    #[arg(long, default_value = "/sys/fs/bpf/lb")]
    pin_dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Native,
    Generic,
    Auto,
}

pub(super) fn run(context: &Context, verb: Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Attach(arguments) => attach(context, &arguments)?,
        Verb::Detach { interface, pins } => {
            decap::detach(&pins.pin_dir, &interface).map_err(|error| failure(&error))?;
            output::done(context.format, &format!("{interface}: tunnels are not opened any more"));
        }
        Verb::Show { pins } => show(context, &pins)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn attach(context: &Context, arguments: &Attach) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| negative(format!("starting: {error}")))?;
    runtime.block_on(async {
        let addresses: BTreeSet<IpAddr> = if arguments.to.is_empty() {
            let local = netlink::local_addresses().await;
            local.map_err(|error| negative(format!("asking for local addresses: {error}")))?
        } else {
            arguments.to.iter().copied().collect()
        };
        let mode = match arguments.mode {
            Mode::Native => XdpMode::Native,
            Mode::Generic => XdpMode::Generic,
            Mode::Auto => XdpMode::Auto,
        };
        let (pin_dir, interface) = (&arguments.pins.pin_dir, &arguments.interface);
        let mut decap = Decap::attach(pin_dir, interface, mode, &arguments.from, &addresses)
            .map_err(|error| failure(&error))?;
        let from: Vec<String> = arguments.from.iter().map(ToString::to_string).collect();
        let from = from.join(", ");
        output::done(context.format, &format!("{interface}: opens tunnels from {from}"));
        if arguments.watch { follow(&mut decap).await } else { Ok(()) }
    })
}

/// Follows the machine's addresses until it is told to stop.
async fn follow(decap: &mut Decap) -> Result<(), Failure> {
    let mut changes = netlink::watch_local_addresses()
        .map_err(|error| negative(format!("watching local addresses: {error}")))?;
    loop {
        tokio::select! {
            Some(addresses) = changes.recv() => {
                decap.set_addresses(&addresses).map_err(|error| failure(&error))?;
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

fn show(context: &Context, pins: &PinDir) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Document {
        version: u32,
        decap: Vec<Item>,
    }
    #[derive(Serialize)]
    struct Item {
        interface: String,
        reason: &'static str,
        packets: u64,
    }
    let opened = decap::list(&pins.pin_dir).map_err(|error| failure(&error))?;
    let items: Vec<Item> = opened
        .into_iter()
        .flat_map(|opened| {
            opened.verdicts.into_iter().map(move |(verdict, packets)| Item {
                interface: opened.interface.clone(),
                reason: verdict.reason(),
                packets,
            })
        })
        .collect();
    match context.format {
        Format::Json => output::json(&Document { version: VERSION, decap: items }),
        Format::Table => {
            let row = |item: &Item| {
                vec![item.interface.clone(), item.reason.to_owned(), item.packets.to_string()]
            };
            let rows = items.iter().map(row).collect();
            output::table(&["INTERFACE", "REASON", "PACKETS"], &[2], rows);
        }
    }
    Ok(())
}

/// A prefix, or an address as the prefix of nothing but itself.
fn prefix(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is not a prefix such as 10.0.1.0/24 or 2001:db8::1"))
}

fn failure(error: &DecapError) -> Failure {
    let kind = match error {
        DecapError::NotAttached(_) | DecapError::Attach(AttachError::NoInterface(_)) => {
            FailureKind::NotFound
        }
        DecapError::Attach(AttachError::Occupied(..)) => FailureKind::Conflict,
        _ => FailureKind::Negative,
    };
    Failure { kind, message: error.to_string() }
}

const fn negative(message: String) -> Failure {
    Failure { kind: FailureKind::Negative, message }
}
