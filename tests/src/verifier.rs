//! How much work the programs are for the kernel's verifier.

use std::collections::BTreeMap;

use aya::{Ebpf, programs::Xdp};
use lb_userspace::objects;

/// Loads every program of every object, and returns the instructions that the verifier processed
/// for each.
///
/// # Panics
/// If the kernel does not take an object or a program, or is older than 5.16, which does not tell.
#[must_use]
pub fn verified_instructions() -> BTreeMap<String, u32> {
    let mut instructions = BTreeMap::new();
    for object in [objects::BALANCER, objects::DECAP, objects::PASS, objects::BENCH] {
        let mut ebpf = Ebpf::load(object).expect("the kernel takes the object");
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into().expect("an XDP program");
            program.load().unwrap_or_else(|error| panic!("{name}: {error}"));
            let info = program.info().expect("the kernel describes the program");
            let count = info.verified_instruction_count();
            instructions.insert(name.to_owned(), count.expect("a kernel since 5.16"));
        }
    }
    instructions
}

/// The compiler's name and version from the objects' debug information: others lay code out in
/// another way.
///
/// # Panics
/// If the object does not name it.
#[must_use]
pub fn compiler() -> String {
    const MARK: &[u8] = b"rustc version ";
    let object = objects::BALANCER;
    let start = object.windows(MARK.len()).position(|bytes| bytes == MARK);
    let text = &object[start.expect("the object names its compiler")..];
    let end = text.iter().position(|byte| *byte == b')' || *byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}
