//! The kernel's verifier takes every program; for how many instructions is judged outside.

use lb_tests::verifier::{compiler, verified_instructions};

use crate::fact;

#[test]
fn every_program_of_every_object_is_taken() {
    fact::report(&format!("compiler {}", compiler()));
    for (program, count) in verified_instructions() {
        fact::report(&format!("instructions {program} {count}"));
    }
}
