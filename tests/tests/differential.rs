//! Random packets through kernel and host, which must agree on everything.
//!
//! `LB_TEST_SEED` and `LB_TEST_PACKETS` override what is drawn and how much of it. A failure
//! prints the seed that draws its configuration first.

use std::{
    io::Write as _,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use lb_common::{DecapVerdict, Verdict};
use lb_tests::packets::{
    Balancer, Carrier, Decap, GUE_PORT, Gue, Prefix, Segment, Shape, Tag, Tunnel, Variant,
    failure::{self, Place},
    fixture::Kind,
    fragments, properties,
    random::{self, Configuration, Frames},
    tagged,
};

const PACKETS: u64 = 1_000_000;
/// So many packets meet every verdict, whatever is drawn.
const LONG: u64 = 4 * PACKETS;
const PACKETS_A_CONFIGURATION: u64 = 4000;
/// Packets between two changes of the tables.
const CALM: u32 = 200;

#[test]
fn the_balancer_is_the_same_in_the_kernel_and_on_the_host() {
    let (seed, packets) = (seed(), packets());
    println!("LB_TEST_SEED={seed}");
    let start = Instant::now();
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    let mut seen = [0_u64; Verdict::COUNT];
    let mut disputed = 0;
    let configurations = packets.div_ceil(PACKETS_A_CONFIGURATION);
    for number in 0..configurations {
        let left = packets - number * PACKETS_A_CONFIGURATION;
        let seed = seed.wrapping_add(number);
        balance(&mut balancer, seed, left.min(PACKETS_A_CONFIGURATION), &mut seen);
        disputed += balancer.disputed();
    }
    println!("{disputed} packets in disputed slots");
    for (verdict, count) in Verdict::ALL.iter().zip(seen) {
        println!("{:<18}{count:>9}", verdict.reason());
        // A long run that never meets a verdict has lost its aim. Two cannot be met: a test run
        // has headroom, and the kernel always has settings.
        let is_met = !matches!(verdict, Verdict::NoHeadroom | Verdict::NotReady);
        assert!(!is_met || packets < LONG || count > 100, "{verdict:?} is rare");
    }
    summarise("balancer", packets, configurations, start);
}

/// The packets of one configuration.
fn balance(balancer: &mut Balancer, seed: u64, packets: u64, seen: &mut [u64; Verdict::COUNT]) {
    let mut rng = Rng::with_seed(seed);
    let configuration = Configuration::random(&mut rng);
    configuration.apply(&mut rng, balancer).expect("the tables are large enough");
    let frames = Frames::like(configuration.frames(&mut rng));
    let before = balancer.verdicts().expect("the kernel counts");
    let mut judged = vec![0; Verdict::COUNT];
    for number in 0..packets {
        if rng.u32(..CALM) == 0 {
            random::happen(&mut rng, balancer);
        }
        let frame = frames.next(&mut rng);
        let pair = balancer.run(&frame).expect("a test run");
        let place = Place { test: "differential", seed, number, configuration: &configuration };
        let fail = |what: &str| -> ! {
            panic!("{}", failure::report(folder(), &place, &frame, &pair, what));
        };
        if !pair.is_agreement() {
            fail("kernel and host differ");
        }
        if let Err(what) = properties::check(&frame, &pair.kernel) {
            fail(&what);
        }
        judged[pair.kernel.verdict as usize] += 1;
    }
    let after = balancer.verdicts().expect("the kernel counts");
    let counted: Vec<u64> =
        after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(counted, judged, "verdicts, seed {seed}");
    if let Err(difference) = balancer.compare() {
        panic!("after {packets} packets of seed {seed}: {difference}\n{configuration}");
    }
    seen.iter_mut().zip(judged).for_each(|(seen, count)| *seen += count);
}

#[test]
fn the_far_end_is_the_same_in_the_kernel_and_on_the_host() {
    let (seed, packets) = (seed(), packets() / 4);
    println!("LB_TEST_SEED={seed}");
    let start = Instant::now();
    let sources =
        [Prefix([10, 1, 0, 0].into(), 16), Prefix([0xfd00, 1, 0, 0, 0, 0, 0xff, 0].into(), 112)];
    let addresses = [[10, 200, 0, 1].into(), [0xfd00, 0x200, 0, 0, 0, 0, 0, 1].into()];
    let own = [Kind::OverIpv4, Kind::OverIpv6].map(Kind::backend);
    let mut decap = Decap::load(&sources, &own, &addresses).expect("the kernel takes the program");
    // Nobody has connections between the addresses of these packets.
    decap.give_on(&[]).expect("a map of the far end");
    let mut rng = Rng::with_seed(seed);
    let frames = Frames::like(tunnels());
    let mut seen = [0_u64; DecapVerdict::COUNT];
    for number in 0..packets {
        let frame = frames.next(&mut rng);
        let pair = decap.run(&frame).expect("a test run");
        let judged = match pair.is_agreement() {
            true => properties::check_far_end(&frame, &pair.kernel),
            false => Err("the far ends differ".to_owned()),
        };
        if let Err(what) = judged {
            let place = Place {
                test: "differential",
                seed,
                // This test draws a quarter of the packets.
                number: number * 4 + 3,
                configuration: &"two sources, two addresses",
            };
            panic!("{}", failure::report(folder(), &place, &frame, &pair, &what));
        }
        seen[pair.kernel.verdict as usize] += 1;
    }
    for (verdict, count) in DecapVerdict::ALL.iter().zip(seen) {
        println!("{:<18}{count:>9}", verdict.reason());
    }
    let given_on = seen[DecapVerdict::SecondChance as usize];
    assert!(packets < PACKETS / 4 || given_on > 100, "{given_on} packets were given on");
    summarise("far end", packets, 1, start);
}

/// Tunnels with each pair of families; some from strangers, some to others' addresses.
fn tunnels() -> Vec<Vec<u8>> {
    let gue =
        |is_summed, variant| Carrier::Gue(Gue { ports: [50_000, GUE_PORT], is_summed, variant });
    let carriers = [
        Carrier::Ip,
        gue(false, Variant::Header(Vec::new())),
        gue(true, Variant::Header(vec![[0x45; 4]; 3])),
        gue(true, Variant::Direct),
        gue(true, Variant::Header(vec![*b"lb\x01\x04", [10, 1, 0, 99]])),
        gue(false, Variant::Header(vec![*b"lb\x01\x06", [0xfd, 0, 0, 1], [0; 4], [0; 4], [9; 4]])),
    ];
    carriers.iter().flat_map(tunnels_by).collect()
}

fn tunnels_by(carrier: &Carrier) -> Vec<Vec<u8>> {
    let mut tunnels = Vec::new();
    for kind in [Kind::OverIpv4, Kind::OverIpv6] {
        for (client, vip) in [
            ("198.51.100.7:1", "10.200.0.1:80"),
            ("198.51.100.7:1", "10.200.0.2:80"),
            ("[2001:db8::7]:1", "[fd00:200::1]:80"),
            ("[2001:db8::7]:1", "[fd00:200::2]:80"),
        ] {
            for shape in [
                Shape::tcp(client, vip, Segment::Syn),
                Shape::tcp(client, vip, Segment::Ack),
                Shape::udp(client, vip),
            ] {
                let mut tunnel = Tunnel { carrier: carrier.clone(), ..kind.tunnel(0, 7) };
                tunnels.push(tunnel.around(&shape.frame(), 0));
                tunnels.push(tagged(&tunnels[tunnels.len() - 1], &[Tag::customer(7)]));
                tunnels.extend(fragments(&tunnels[tunnels.len() - 2], 24, 1));
                tunnels.push(shape.frame());
                tunnel.traffic_class = 0b11;
                tunnels.push(tunnel.around(&shape.frame(), 0));
                tunnel.source = tunnel.destination;
                tunnels.push(tunnel.around(&shape.frame(), 0));
            }
        }
    }
    tunnels
}

/// One line that is shown whether or not the test harness shows what tests print.
fn summarise(what: &str, packets: u64, configurations: u64, start: Instant) {
    // Nobody is told if standard error is closed.
    let _ = writeln!(
        std::io::stderr(),
        "differential, {what}: {packets} packets, {configurations} configurations, 0 mismatches, {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn seed() -> u64 {
    variable("LB_TEST_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_micros() as u64)
    })
}

fn packets() -> u64 {
    variable("LB_TEST_PACKETS").unwrap_or(PACKETS)
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
