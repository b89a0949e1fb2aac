//! What the fuzzer has found worth keeping, and where it began, in the kernel and on the host.
//!
//! `LB_TEST_CORPUS` names a file or folder to run in place of `tests/corpus`, to look into one
//! entry or into what a fuzzer that was stopped has found.

use std::{
    env,
    path::{Path, PathBuf},
};

use lb_common::Verdict;
use lb_tests::packets::{Balancer, Decap, corpus, corpus::Entry, properties};

#[test]
fn every_entry_is_the_same_in_the_kernel_and_on_the_host() {
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    let mut far_end = Decap::load(
        &corpus::far_end_sources(),
        &corpus::far_end_addresses(),
        &corpus::far_end_targets(),
    )
    .expect("the kernel takes the program");
    // Nobody has connections between the addresses of these packets.
    far_end.give_on(&[]).expect("a map of the far end");
    let mut seen = [0_u64; Verdict::COUNT];
    let entries = entries();
    for (name, entry) in &entries {
        run(&mut balancer, &mut far_end, entry, &mut seen)
            .unwrap_or_else(|what| panic!("{name}: {what}\n{entry}"));
    }
    println!("{} entries", entries.len());
    for (verdict, count) in Verdict::ALL.iter().zip(seen) {
        println!("{:<18}{count:>9}", verdict.reason());
    }
}

fn run(
    balancer: &mut Balancer,
    far_end: &mut Decap,
    entry: &Entry,
    seen: &mut [u64; Verdict::COUNT],
) -> Result<(), String> {
    let text = |error: anyhow::Error| format!("{error:#}");
    entry.configuration().establish(balancer).map_err(text)?;
    for (number, frame) in entry.frames().enumerate() {
        let pair = balancer.run(&frame).map_err(text)?;
        if !pair.is_agreement() {
            return Err(format!("frame {number}: kernel {}\nhost {}", pair.kernel, pair.host));
        }
        properties::check(&frame, &pair.kernel)
            .map_err(|what| format!("frame {number}: {what}"))?;
        seen[pair.kernel.verdict as usize] += 1;
        for tunnel in [&frame, &pair.kernel.bytes] {
            let pair = far_end.run(tunnel).map_err(text)?;
            if !pair.is_agreement() {
                return Err(format!("frame {number}: kernel {}\nhost {}", pair.kernel, pair.host));
            }
            properties::check_far_end(tunnel, &pair.kernel)
                .map_err(|what| format!("frame {number}, far end: {what}"))?;
        }
    }
    balancer.compare().map_err(text)
}

/// The seeds and the kept entries, or those that the environment names, with their names.
fn entries() -> Vec<(String, Entry)> {
    if let Some(path) = env::var_os("LB_TEST_CORPUS") {
        return read(&PathBuf::from(path));
    }
    let seeds = (0..).zip(corpus::seeds()).map(|(number, seed)| (format!("seed {number}"), seed));
    let kept = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"));
    assert!(kept.len() > 50, "tests/corpus has lost its entries");
    seeds.chain(kept).collect()
}

fn read(path: &Path) -> Vec<(String, Entry)> {
    let entries = corpus::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.into_iter().map(|(path, entry)| (path.display().to_string(), entry)).collect()
}
