//! `lbctl decap …`

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use lb_common::forward::gue;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Context, Format, output, permission};
use crate::{
    api::protocol::{Failure, FailureKind, VERSION},
    config::XdpMode,
    datapath::attach::AttachError,
    decap::{self, Decap, DecapError, Opened, Request, Strangers},
    netlink,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Opens tunnels on an interface, IP in IP and GUE, until it is detached.
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
    /// UDP port of GUE, as the load balancers have it; 0 opens none.
    #[arg(long, value_name = "PORT", default_value_t = gue::PORT)]
    gue_port: u16,
    /// Gives packets of TCP connections that this machine does not have on to the other backend
    /// that their tunnel names; this machine has to route what comes in by the interface.
    #[arg(long)]
    second_chance: bool,
    /// Keeps running and follows changes of this machine's addresses.
    #[arg(long, conflicts_with = "to")]
    watch: bool,
    /// How the program is attached.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    #[command(flatten)]
    pins: PinDir,
}

impl Attach {
    const fn strangers(&self) -> Strangers {
        if self.second_chance { Strangers::GiveOn } else { Strangers::Open }
    }
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
    for warning in warnings(&arguments.from) {
        output::warning(context.format, &warning);
    }
    runtime.block_on(async {
        let addresses: BTreeSet<IpAddr> = if arguments.to.is_empty() {
            let local = netlink::local_addresses().await;
            local.map_err(|error| negative(format!("asking for local addresses: {error}")))?
        } else {
            arguments.to.iter().map(IpAddr::to_canonical).collect()
        };
        let mode = match arguments.mode {
            Mode::Native => XdpMode::Native,
            Mode::Generic => XdpMode::Generic,
            Mode::Auto => XdpMode::Auto,
        };
        let (pin_dir, interface) = (&arguments.pins.pin_dir, &arguments.interface);
        let request = Request {
            mode,
            sources: &arguments.from,
            gue_port: arguments.gue_port,
            addresses: &addresses,
            strangers: arguments.strangers(),
        };
        let mut decap =
            Decap::attach(pin_dir, interface, request).map_err(|error| failure(&error))?;
        let from: Vec<String> = arguments.from.iter().map(ToString::to_string).collect();
        let from = from.join(", ");
        let more = match arguments.strangers() {
            Strangers::Open => "",
            Strangers::GiveOn => ", and gives on what other backends may have",
        };
        output::done(context.format, &format!("{interface}: opens tunnels from {from}{more}"));
        if !arguments.watch {
            return Ok(());
        }
        let changes = netlink::watch_local_addresses()
            .map_err(|error| negative(format!("watching local addresses: {error}")))?;
        let mut set =
            |addresses: &_| decap.set_addresses(addresses).map_err(|error| failure(&error));
        follow(changes, &mut set).await
    })
}

/// What is allowed but rarely meant.
fn warnings(from: &[IpNet]) -> Vec<String> {
    let everybody = from.iter().filter(|net| net.prefix_len() == 0);
    let warning = |net| {
        format!("--from {net}: everybody who reaches this machine may send it tunnelled packets")
    };
    everybody.map(warning).collect()
}

/// Follows the machine's addresses until it is told to stop.
async fn follow(
    mut changes: mpsc::Receiver<BTreeSet<IpAddr>>,
    set: &mut impl FnMut(&BTreeSet<IpAddr>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            addresses = changes.recv() => match addresses {
                Some(addresses) => set(&addresses)?,
                None => {
                    let message = "the kernel's news of local addresses have ended: start this \
                                   again; tunnels to the addresses so far stay open";
                    return Err(negative(message.to_owned()));
                }
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Prints the far ends that can be told of, and then why the others cannot.
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
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for Opened { interface, verdicts } in
        decap::list(&pins.pin_dir).map_err(|error| failure(&error))?
    {
        match verdicts {
            Ok(verdicts) => items.extend(verdicts.into_iter().map(|(verdict, packets)| Item {
                interface: interface.clone(),
                reason: verdict.reason(),
                packets,
            })),
            Err(error) => failures.push(of_interface(&interface, &error)),
        }
    }
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
    let Some(last) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(|failure| output::failure(context.format, failure));
    Err(last)
}

fn of_interface(interface: &str, error: &DecapError) -> Failure {
    let Failure { kind, message } = failure(error);
    Failure { kind, message: format!("{interface}: {message}") }
}

/// A prefix, or an address as the prefix of nothing but itself.
fn prefix(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())))
        .map_err(|_| format!("`{text}` is not a prefix such as 10.0.1.0/24 or 2001:db8::1"))
}

fn failure(error: &DecapError) -> Failure {
    let kind = match error {
        DecapError::NotAttached(_) | DecapError::Attach(AttachError::NoInterface(_)) => {
            FailureKind::NotFound
        }
        DecapError::Attach(AttachError::Occupied { .. }) => FailureKind::Conflict,
        _ => permission::kind_of(error, FailureKind::Negative),
    };
    Failure { kind, message: error.to_string() }
}

const fn negative(message: String) -> Failure {
    Failure { kind: FailureKind::Negative, message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_may_not_look_is_told_so() {
        let detached = permission::as_nobody(|pins| decap::detach(pins, "eth0"));
        assert_eq!(failure(&detached.expect_err("detach")).kind, FailureKind::Permission);
        let listed = permission::as_nobody(decap::list);
        assert_eq!(failure(&listed.expect_err("show")).kind, FailureKind::Permission);
        let attached = permission::as_nobody(|pins| {
            let addresses = BTreeSet::new();
            let request = Request {
                mode: XdpMode::Auto,
                sources: &[],
                gue_port: 0,
                addresses: &addresses,
                strangers: Strangers::Open,
            };
            Decap::attach(pins, "eth0", request).map(drop)
        });
        assert_eq!(failure(&attached.expect_err("attach")).kind, FailureKind::Permission);
    }

    #[test]
    fn nothing_is_opened_where_nothing_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let pins = directory.path().join("pins");
        assert!(decap::list(&pins).expect("nothing").is_empty());
        let error = decap::detach(&pins, "eth0").expect_err("nothing");
        assert_eq!(failure(&error).kind, FailureKind::NotFound);
    }

    #[tokio::test]
    async fn news_that_end_are_an_error() {
        let (sender, changes) = mpsc::channel(1);
        let address = IpAddr::from([10, 0, 0, 1]);
        sender.send(BTreeSet::from([address])).await.expect("room");
        drop(sender);
        let mut seen = Vec::new();
        let mut set = |addresses: &BTreeSet<IpAddr>| {
            seen.extend(addresses.iter().copied());
            Ok(())
        };
        let followed =
            tokio::time::timeout(Duration::from_secs(5), follow(changes, &mut set)).await;
        followed.expect("it ends").expect_err("with an error");
        assert_eq!(seen, [address]);
    }

    #[test]
    fn a_tunnel_from_everybody_is_warned_of() {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| prefix(text).expect(text)).collect()
        };
        assert_eq!(warnings(&nets(&["0.0.0.0/0", "::/0"])).len(), 2);
        assert!(warnings(&nets(&["0.0.0.0", "10.0.0.0/8", "2001:db8::/32"])).is_empty());
        assert_eq!(nets(&["::ffff:10.0.0.1"]), nets(&["10.0.0.1"]));
    }
}
