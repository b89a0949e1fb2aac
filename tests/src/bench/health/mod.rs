//! How soon a backend that is cut off gets no new flow any more, and how soon it is back.
//!
//! A network of namespaces with the real daemon. UDP datagrams of many flows go to one service all
//! the time. UDP that is not remembered goes where the table says now, so each datagram is a new
//! flow, and what a backend receives last and first tells when tables changed for packets.

mod backend;
mod clients;
mod report;

use std::{fs, path::Path, thread, time::Duration};

use anyhow::Context as _;

use crate::{
    Daemon, Lbctl, Plan as Network, Topology,
    address::{self, Family},
    program,
};
use backend::Backend;
use clients::Clients;
use report::{Report, Trial};

/// What is measured: the times that are promised for an interval of a second.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// How many times a backend is cut off and comes back, in all.
    pub trials: u16,
}

/// From one check to the next, as in the configuration below.
const INTERVAL: Duration = Duration::from_secs(1);
const CHECK: &str = "type = \"tcp\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nrise = 2\nfall = 3";
/// From the cut to the last new flow: three checks and a time-out, and a tenth of a second.
const OUT_WITHIN: Duration = Duration::from_millis(3600);
/// From the return to the first new flow.
const BACK_WITHIN: Duration = Duration::from_millis(2600);

/// Backends that are cut off side by side, and others that stay: somebody must be heard, or the
/// balancer takes itself for cut off.
const CUT: u8 = 5;
const BACKENDS: u8 = 2 * CUT;
const FAMILY: Family = Family::V4;
const PORT: u16 = 80;
const CONFIG: &str = "/run/lb.toml";

/// Measures, prints the figures and writes `json`, if asked.
pub fn health(plan: Health, json: Option<&Path>) -> anyhow::Result<()> {
    let topology = Topology::new(Network { backends: BACKENDS, services: 1 })?;
    let backends: Vec<Backend> = topology
        .backends()
        .map(|(number, host)| Backend::open(host, address::backend(FAMILY, number)))
        .collect::<Result<_, _>>()
        .context("opening the backends' sockets")?;
    let _lbd = start(&topology)?;
    let _clients = Clients::start(&topology.client).context("starting the clients")?;
    let trials = thread::scope(|scope| {
        let shares = (0..CUT).map(|number| {
            let share = (plan.trials + u16::from(CUT - 1 - number)) / u16::from(CUT);
            let backend = &backends[usize::from(number)];
            scope.spawn(move || (0..share).map(|_| backend.trial()).collect::<anyhow::Result<_>>())
        });
        let running: Vec<_> = shares.collect();
        let results = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect::<anyhow::Result<Vec<Vec<Trial>>>>()
    })?;
    let report = Report::new(&trials.concat());
    report.print();
    if let Some(path) = json {
        fs::write(path, report.json()?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Starts the daemon and waits until all backends are up.
fn start(topology: &Topology) -> anyhow::Result<Daemon> {
    let balancer = &topology.balancer;
    fs::write(balancer.path(CONFIG), configuration()).context("writing the configuration")?;
    let mut command = balancer.command(program("lbd")?);
    command.args(["--config", CONFIG]);
    let lbd = Daemon::start("lbd", command)?;
    let lbctl = Lbctl::new(balancer)?;
    lbd.until("all backends to be up", 10 * INTERVAL, || {
        let rows = lbctl.backends().map_err(|error| error.to_string())?;
        let are_up = !rows.is_empty() && rows.iter().all(|row| row.state == "up");
        are_up.then_some(()).ok_or_else(|| format!("{rows:?}"))
    })?;
    Ok(lbd)
}

fn configuration() -> String {
    let mut text = format!(
        "[daemon]\ninterfaces = [\"eth0\"]\nxdp_mode = \"native\"\n\n\
         [[service]]\nname = \"bench\"\nvip = \"{}\"\nport = {PORT}\nprotocol = \"udp\"\n\
         forward = \"l2\"\n[service.health_check]\n{CHECK}\n",
        address::service(FAMILY, 1)
    );
    for number in 1..=BACKENDS {
        let address = address::backend(FAMILY, number);
        text += &format!("[[service.backend]]\naddress = \"{address}\"\n");
    }
    text
}
