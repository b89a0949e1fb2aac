//! The packet core on the host as a target for libFuzzer; `cargo xtask fuzz host` runs it.
//!
//! `LB_FUZZ_SEEDS` names a folder that gets the seeds before the fuzzer reads its corpus.

#![no_main]

use std::{cell::RefCell, env, fs, path::PathBuf};

use lb_tests::packets::corpus::{self, Entry, HostWorlds};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

thread_local! {
    static WORLDS: RefCell<HostWorlds> = RefCell::default();
}

fuzz_target!(init: write_seeds(), |bytes: &[u8]| {
    let entry = Entry::decode(bytes);
    WORLDS.with_borrow_mut(|worlds| {
        worlds.prepare(&entry);
        forget_coverage();
        worlds.run(&entry);
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut rng = fastrand::Rng::with_seed(seed.into());
    let mut entry = Entry::decode(&data[..size]);
    corpus::change(&mut rng, &mut entry, scramble);
    let bytes = entry.encode();
    let length = bytes.len().min(max_size);
    data[..length].copy_from_slice(&bytes[..length]);
    length
});

/// Changes bytes as libFuzzer does by itself, with what it has learnt from comparisons.
fn scramble(bytes: &mut Vec<u8>) {
    let length = bytes.len();
    bytes.resize(length + 16, 0);
    let max_length = bytes.len();
    let length = fuzzer_mutate(bytes, length, max_length);
    bytes.truncate(length);
}

/// Filling tables is not what is searched through, and happens only the first time: what it
/// reached must not count for the entry that happened to be first.
fn forget_coverage() {
    unsafe extern "C" {
        #[link_name = "__start___sancov_cntrs"]
        static mut START: u8;
        #[link_name = "__stop___sancov_cntrs"]
        static mut STOP: u8;
    }
    let (start, stop) = (&raw mut START, &raw mut STOP);
    // SAFETY: the linker sets both symbols to the ends of the section of counters, which are
    // bytes that the instrumentation adds to and libFuzzer reads; this thread is the only one.
    unsafe { start.write_bytes(0, stop.offset_from_unsigned(start)) };
}

fn write_seeds() {
    let Some(folder) = env::var_os("LB_FUZZ_SEEDS").map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).expect("a folder for the seeds");
    for (number, seed) in (0..).zip(corpus::seeds()) {
        let name: String = format!("seed-{number:03}");
        fs::write(folder.join(name), seed.encode()).expect("room for a seed");
    }
}
