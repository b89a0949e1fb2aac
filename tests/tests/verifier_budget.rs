//! How much work the programs are for the kernel's verifier.
//!
//! The verifier gives up at a million instructions, which it counts on every path that it cannot
//! join with another; older kernels join fewer. A change that doubles the number here may be
//! refused there. `LB_TEST_BLESS=1` records the numbers of this kernel and compiler as the new
//! baseline.

use std::{collections::BTreeMap, fs, path::Path};

use lb_tests::verifier::{compiler, verified_instructions};
use serde::{Deserialize, Serialize};

/// A quarter of what any kernel since 5.2 takes (`BPF_COMPLEXITY_LIMIT_INSNS`).
const HARD_LIMIT: u32 = 250_000;
/// Growth over the baseline, on the kernel and with the compiler that it was recorded with.
const ALLOWED_PERCENT: u32 = 10;

/// What is recorded.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    /// The kernel's release, as `uname -r` says it.
    kernel: String,
    /// The compiler, as the object names it: others lay code out in another way.
    compiler: String,
    /// Verified instructions by program.
    instructions: BTreeMap<String, u32>,
}

#[test]
fn no_program_outgrows_its_budget() {
    let now =
        Baseline { kernel: kernel(), compiler: compiler(), instructions: verified_instructions() };
    for (program, count) in &now.instructions {
        assert!(*count <= HARD_LIMIT, "{program}: {count} instructions of {HARD_LIMIT}");
    }
    if std::env::var_os("LB_TEST_BLESS").is_some() {
        now.record();
        return;
    }
    let then = Baseline::recorded();
    let programs = |baseline: &Baseline| baseline.instructions.keys().cloned().collect::<Vec<_>>();
    assert_eq!(programs(&now), programs(&then), "{}", hint());
    let is_comparable = (&now.kernel, &now.compiler) == (&then.kernel, &then.compiler);
    println!("kernel {}, baseline of {}", now.kernel, then.kernel);
    println!("{}, baseline of {}", now.compiler, then.compiler);
    for (program, count) in &now.instructions {
        let recorded = then.instructions[program];
        println!("{program:<14}{count:>8}, recorded {recorded:>8}");
        let budget = recorded + recorded * ALLOWED_PERCENT / 100;
        assert!(
            !is_comparable || *count <= budget,
            "{program}: {count} instructions, {recorded} recorded; {}",
            hint()
        );
    }
}

impl Baseline {
    fn path() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/verifier-budget.toml"))
    }

    fn recorded() -> Self {
        let text = fs::read_to_string(Self::path()).expect("the baseline is in the repository");
        toml::from_str(&text).expect("a baseline")
    }

    fn record(&self) {
        let text = toml::to_string(self).expect("numbers and names");
        let text = format!("# Instructions that the verifier processes; see {}.\n{text}", file!());
        fs::write(Self::path(), text).expect("the repository can be written");
    }
}

fn hint() -> &'static str {
    "if that is wanted: LB_TEST_BLESS=1 cargo test -p lb-tests --test verifier_budget"
}

fn kernel() -> String {
    let name = nix::sys::utsname::uname().expect("the kernel has a name");
    name.release().to_string_lossy().into_owned()
}
