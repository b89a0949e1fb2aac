//! A network with servers behind a balancer, and what tests do with it.

mod accounts;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod crowd;
pub(crate) mod metrics;
pub(crate) mod said;
pub(crate) mod second;
pub(crate) mod talk;
pub(crate) mod upload;
pub(crate) mod xdp;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use lb_tests::{
    Daemon, Lbctl, Mtus, Plan, Server, Topology,
    address::{self, Family},
    lbctl::BackendRow,
    program, waiting,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use accounts::Accounts;
use config::Config;
use metrics::Metrics;
use said::{Said, run_to_the_end};

/// Generous: only what is broken takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How many services' addresses the backends have, per family.
const SERVICES: u8 = 2;
/// Where the servers listen, and most services.
pub(crate) const PORT: u16 = 80;
/// lbd's configuration, in the balancer's own `/run`.
pub(crate) const CONFIG: &str = "/run/lb.toml";

/// The network, a server in each backend, and lbd once it is started. When a test fails, what lbd
/// said last stands below the failure.
pub(crate) struct Site {
    lbd: Option<Daemon>,
    servers: BTreeMap<u8, Server>,
    accounts: Option<Accounts>,
    pub(crate) topology: Topology,
}

impl Site {
    /// The network with a server in each of so many backends. No lbd yet.
    pub(crate) fn new(backends: u8) -> Self {
        Self::with_mtus(backends, Mtus::default())
    }

    /// The same for packets of other sizes.
    pub(crate) fn with_mtus(backends: u8, mtus: Mtus) -> Self {
        let plan = Plan { backends, services: SERVICES };
        let mut site = Self {
            lbd: None,
            servers: BTreeMap::new(),
            accounts: None,
            topology: Topology::with_mtus(plan, mtus).unwrap(),
        };
        (1..=backends).for_each(|number| site.start_server(number));
        site
    }

    /// The same with lbd, whose backends are all up.
    pub(crate) fn running(backends: u8, config: &Config) -> Self {
        Self::new(backends).run(config)
    }

    /// Starts lbd, and waits until all backends are up.
    pub(crate) fn run(mut self, config: &Config) -> Self {
        if config.needs_tunnels() {
            self.open_tunnels();
        }
        self.start(config);
        self.until_all_are("up");
        self.open_accounts();
        self
    }

    pub(crate) fn start_server(&mut self, number: u8) {
        let server = self.topology.start_server(number, PORT).unwrap();
        self.servers.insert(number, server);
    }

    /// Kills a server as a crash would.
    pub(crate) fn kill_server(&mut self, number: u8) {
        self.servers.remove(&number).expect("the server runs").kill();
    }

    /// Makes every backend take packets of the balancer out of the tunnel.
    pub(crate) fn open_tunnels(&self) {
        self.open_tunnels_from(&[address::balancer]);
    }

    /// The same for packets of these balancers.
    pub(crate) fn open_tunnels_from(&self, balancers: &[fn(Family) -> IpAddr]) {
        let sources = balancers.iter().flat_map(|address| Family::ALL.map(address));
        let sources = sources.map(|address| address.to_string()).collect::<Vec<_>>().join(",");
        for (_, backend) in self.topology.backends() {
            let lbctl = Lbctl::new(backend).unwrap();
            let from: Vec<_> = sources.split(',').flat_map(|source| ["--from", source]).collect();
            lbctl.run(&[&["decap", "attach", "eth0"], &from[..]].concat()).unwrap();
        }
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.topology.balancer.path(CONFIG), text).unwrap();
    }

    /// Writes the configuration, starts lbd and waits until it serves.
    pub(crate) fn start(&mut self, config: &Config) {
        self.write_config(&config.to_string());
        self.start_lbd();
    }

    /// Starts lbd with the configuration that is there, and waits until it serves.
    pub(crate) fn start_lbd(&mut self) {
        self.start_version("lbd");
    }

    /// The same with a program that is lbd of some version.
    pub(crate) fn start_version(&mut self, program: &str) {
        self.begin_to_start(program);
        self.until_it_answers();
    }

    /// Waits until lbd, which is starting, serves.
    pub(crate) fn until_it_answers(&self) {
        self.until("lbd to answer", || {
            let said = self.lbctl(&["status"]);
            (said.code < 2).then_some(()).ok_or_else(|| format!("{said:?}"))
        });
    }

    /// Starts lbd with the configuration that is there and a further variable in its environment, and
    /// waits until it serves.
    pub(crate) fn start_lbd_in(&mut self, (variable, value): (&str, &str)) {
        assert!(self.lbd.is_none(), "lbd runs already");
        let mut command = self.lbd_command(&[]);
        command.env(variable, value);
        self.lbd = Some(Daemon::start("lbd", command).unwrap());
        self.until_it_answers();
    }

    /// Starts a program that is lbd of some version, and does not wait.
    pub(crate) fn begin_to_start(&mut self, program: &str) {
        assert!(self.lbd.is_none(), "lbd runs already");
        self.lbd = Some(Daemon::start(program, self.command_of(program, &[])).unwrap());
    }

    /// Has frames and verdicts compared from now on until the test's end.
    fn open_accounts(&mut self) {
        self.accounts = Some(self.until("a quiet network", || Accounts::read(self)));
    }

    /// For tests in which interfaces lose the program for a while.
    pub(crate) const fn close_accounts(&mut self) {
        self.accounts = None;
    }

    /// Runs lbd to its end, which must come by itself: for starts that must fail.
    pub(crate) fn run_lbd(&self, arguments: &[&str]) -> Said {
        run_to_the_end("lbd", self.lbd_command(arguments))
    }

    fn lbd_command(&self, arguments: &[&str]) -> Command {
        self.command_of("lbd", arguments)
    }

    /// How a program that is lbd of some version is started.
    pub(crate) fn command_of(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.topology.balancer.command(program(name).unwrap());
        command.args(["--config", CONFIG]).args(arguments);
        command
    }

    pub(crate) fn lbd(&self) -> &Daemon {
        self.lbd.as_ref().expect("lbd runs")
    }

    /// SIGKILL: lbd has no time for a last word.
    pub(crate) fn kill_lbd(&mut self) {
        self.lbd.take().expect("lbd runs").kill();
    }

    /// SIGTERM, and waits for the end, which must be a good one.
    pub(crate) fn stop_lbd(&mut self) {
        let status = self.lbd().stop(PATIENCE).unwrap();
        assert!(status.success(), "{status}");
        self.lbd = None;
    }

    /// Tells lbd to read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.lbd().signal(Signal::SIGHUP);
    }

    /// Runs lbctl in the balancer.
    pub(crate) fn lbctl(&self, arguments: &[&str]) -> Said {
        let lbctl = Lbctl::new(&self.topology.balancer).unwrap();
        said::by(lbctl.command(arguments))
    }

    /// Runs lbctl, which must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let said = self.lbctl(arguments);
        assert_eq!(said.code, 0, "lbctl {arguments:?}: {said:?}");
        said.stdout
    }

    /// What lbctl answers as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.lbctl(&[&["-o", "json"], arguments].concat());
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("lbctl {arguments:?}: {error}: {said:?}"))
    }

    #[track_caller]
    pub(crate) fn backends(&self) -> Vec<BackendRow> {
        Lbctl::new(&self.topology.balancer).unwrap().backends().unwrap()
    }

    /// The backend with this name, SERVICE/ADDRESS.
    #[track_caller]
    pub(crate) fn backend(&self, name: &str) -> BackendRow {
        let rows = self.backends();
        let row = rows.iter().find(|row| name_of(row) == name);
        row.unwrap_or_else(|| panic!("no {name} in {rows:?}")).clone()
    }

    /// What the metrics' port says.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::scrape(&self.topology.balancer)
    }

    /// Waits for what lbd has to do.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
        let result = match &self.lbd {
            Some(lbd) => lbd.until(what, PATIENCE, attempt),
            None => waiting::until(what, PATIENCE, attempt),
        };
        result.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until all backends are in this state.
    #[track_caller]
    pub(crate) fn until_all_are(&self, state: &str) {
        self.until_rows(&format!("all backends to be {state}"), |rows| {
            !rows.is_empty() && rows.iter().all(|row| row.state == state)
        });
    }

    /// Waits until the backend with this name is in this state, and returns it.
    #[track_caller]
    pub(crate) fn until_is(&self, name: &str, state: &str) -> BackendRow {
        self.until_rows(&format!("{name} to be {state}"), |rows| {
            rows.iter().any(|row| name_of(row) == name && row.state == state)
        });
        self.backend(name)
    }

    /// Waits until the list of backends is as wanted.
    #[track_caller]
    pub(crate) fn until_rows(&self, what: &str, is_wanted: impl Fn(&[BackendRow]) -> bool) {
        self.until(what, || {
            let rows = self.backends();
            is_wanted(&rows).then_some(()).ok_or_else(|| format!("{rows:?}"))
        });
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let is_over =
            std::thread::panicking() || self.lbd.as_ref().is_none_or(|lbd| !lbd.is_running());
        if let Some(accounts) = self.accounts
            && !is_over
        {
            self.until("every frame to have one verdict", || accounts.compare(self));
        }
        if let Some(lbd) = &self.lbd
            && std::thread::panicking()
        {
            let log = lbd.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("lbd's last words:\n{}", tail.join("\n"));
        }
    }
}

const LOG_LINES: usize = 20;

/// Where clients find the first service.
pub(crate) fn vip(family: Family) -> SocketAddr {
    SocketAddr::new(address::service(family, 1), PORT)
}

/// Where clients find the second service, whose address the backends have too.
pub(crate) fn second_vip(family: Family) -> SocketAddr {
    SocketAddr::new(address::service(family, 2), PORT)
}

/// SERVICE/ADDRESS.
pub(crate) fn name_of(row: &BackendRow) -> String {
    format!("{}/{}", row.service, row.address)
}

/// The name of the server that has this address, as its answers carry it.
pub(crate) fn server_at(address: IpAddr) -> String {
    let number = (1..=99).find(|number| {
        Family::ALL.into_iter().any(|family| address::backend(family, *number) == address)
    });
    format!("be{}", number.expect("a backend's address"))
}
