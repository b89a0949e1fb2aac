//! What a seed draws: services with their settings, and how results travel.

use std::fmt::Write as _;

/// A part of the control core that is broken on purpose, to see that somebody notices. Nothing of the
/// core is another then: it is given other settings than the promises are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nobody is kept out by flap damping.
    Damping,
    /// All may be ejected.
    EjectionLimit,
    /// It takes one failure more than is configured to go down.
    Fall,
    /// Nobody serves who is not well.
    Panic,
    /// Silence is taken for an answer, so that nobody can notice that all are silent.
    Uplink,
}

/// A service and what it asks for.
#[derive(Clone, Debug)]
pub(super) struct ServicePlan {
    pub(super) name: String,
    /// Priorities of its backends.
    pub(super) backends: Vec<u8>,
    /// Time between two checks, in milliseconds.
    interval: u64,
    timeout: u64,
    fast: u64,
    rise: u32,
    fall: u32,
    recovery: String,
    damping: String,
    quorum: String,
    panic_threshold: u8,
    outlier: bool,
    max_ejected: u8,
}

/// All that a seed decides before anything happens.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) services: Vec<ServicePlan>,
    /// The time that all others hang on, in milliseconds.
    pub(super) unit: u64,
    /// How often things go wrong, on average, in milliseconds.
    pub(super) calm: u64,
    /// How many things go wrong.
    pub(super) disturbances: u32,
    /// Of a thousand results, so many are lost, come twice, or come late.
    pub(super) lost: u16,
    pub(super) doubled: u16,
    pub(super) late: u16,
}

impl Plan {
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        // Everything hangs on how often backends are checked; the longer, the more time passes.
        let unit = [1000, 2000, 10_000, 60_000, 120_000][random.usize(0..5)];
        let services = (0..random.u8(1..4)).map(|number| service(random, number, unit)).collect();
        let is_honest = random.bool();
        let mut rate = |most| if is_honest { 0 } else { random.u16(0..most) };
        let (lost, doubled, late) = (rate(60), rate(60), rate(40));
        Self {
            services,
            unit,
            calm: unit * random.u64(2..12),
            disturbances: random.u32(6..22),
            lost,
            doubled,
            late,
        }
    }

    /// Whether each result arrives, once, and in time.
    pub(super) const fn is_honest(&self) -> bool {
        self.lost + self.doubled + self.late == 0
    }

    /// The configuration, with what is broken in it on purpose.
    pub(super) fn text(&self, sabotage: Option<Sabotage>) -> String {
        let mut text = String::from("[daemon]\ninterfaces = [\"eth0\"]\n");
        for (number, service) in self.services.iter().enumerate() {
            service.write(number, sabotage, &mut text);
        }
        text
    }
}

fn service(random: &mut fastrand::Rng, number: u8, unit: u64) -> ServicePlan {
    let backup = random.u8(0..3) == 0;
    let backends = (0..random.u8(2..7)).map(|each| u8::from(backup && each >= 2)).collect();
    let interval = unit * random.u64(1..3);
    let mut maybe = |one_in: u8, text: String| match random.u8(0..one_in) {
        0 => text,
        _ => String::new(),
    };
    let recovery = [
        maybe(2, format!("slow_start = \"{}ms\"\n", unit * 8)),
        maybe(3, format!("trial = \"{}ms\"\n", unit * 4)),
        maybe(3, format!("hold_down = \"{}ms\"\n", unit * 5)),
    ]
    .concat();
    let half_life = unit * 15;
    let damping = format!("flap_limit = 2.5\nflap_half_life = \"{half_life}ms\"\n");
    let damping = maybe(2, damping);
    let quorum = maybe(3, "least = 2\nhysteresis = 1\n".to_owned())
        + &maybe(4, "last_resort = \"all\"\n".to_owned());
    ServicePlan {
        name: format!("s{number}"),
        backends,
        interval,
        timeout: interval / random.u64(2..6),
        fast: if random.bool() { interval / 2 } else { interval },
        rise: random.u32(1..4),
        fall: random.u32(1..5),
        recovery,
        damping,
        quorum,
        panic_threshold: if random.bool() { random.u8(10..80) } else { 0 },
        outlier: random.u8(0..3) == 0,
        max_ejected: random.u8(10..60),
    }
}

impl ServicePlan {
    pub(super) fn address(number: usize, backend: usize) -> String {
        format!("10.1.{number}.{}", backend + 1)
    }

    fn write(&self, number: usize, sabotage: Option<Sabotage>, text: &mut String) {
        let is = |part| sabotage == Some(part);
        let fall = self.fall + u32::from(is(Sabotage::Fall));
        let damping = if is(Sabotage::Damping) { "" } else { &self.damping };
        let threshold = if is(Sabotage::Panic) { 0 } else { self.panic_threshold };
        let max_ejected = if is(Sabotage::EjectionLimit) { 100 } else { self.max_ejected };
        let Self { name, interval, timeout, fast, rise, recovery, quorum, .. } = self;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[[service]]\nname = \"{name}\"\nvip = \"10.200.0.{}\"\nport = 80\nforward = \"l2\"\n\
             [service.health_check]\ntype = \"tcp\"\ninterval = \"{interval}ms\"\n\
             timeout = \"{timeout}ms\"\nfast_interval = \"{fast}ms\"\nrise = {rise}\n\
             fall = {fall}\n[service.recovery]\n{recovery}{damping}[service.quorum]\n{quorum}\
             panic_threshold = \"{threshold}%\"\n",
            number + 1
        );
        if self.outlier {
            let _ = write!(
                text,
                "[service.outlier]\nmax_ejected = \"{max_ejected}%\"\n\
                 base_ejection_time = \"20s\"\nmax_ejection_time = \"60s\"\n"
            );
        }
        for (backend, priority) in self.backends.iter().enumerate() {
            let address = Self::address(number, backend);
            let _ = write!(
                text,
                "[[service.backend]]\naddress = \"{address}\"\npriority = {priority}\n"
            );
        }
    }
}
