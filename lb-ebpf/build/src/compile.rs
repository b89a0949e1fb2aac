//! The objects: compiled, or taken ready-made.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{Error, OBJECTS_VARIABLE, Toolchain, places, toolchain::TARGET};

/// The objects, one for each program under `lb-ebpf/src/bin`.
pub const OBJECTS: [&str; 4] = ["balancer", "bench", "decap", "pass"];

/// What cargo tells build scripts of the feature `bpf-log`: programs that log dropped packets.
const LOG_FEATURE: &str = "CARGO_FEATURE_BPF_LOG";
/// The same of the feature `next-layout`.
const NEXT_LAYOUT_FEATURE: &str = "CARGO_FEATURE_NEXT_LAYOUT";

/// Puts the objects into `out`, a build script's `OUT_DIR`.
///
/// # Errors
/// One sentence about what is missing or wrong. If it is the programs' source, the compiler's
/// messages have been written to standard error.
pub fn provide(workspace: &Path, out: &Path, triple: &str) -> Result<(), Error> {
    if let Some(ready) = env::var_os(OBJECTS_VARIABLE).filter(|value| !value.is_empty()) {
        return copy(Path::new(&ready), out, READY_MADE);
    }
    let target = places::target_directory(out, triple)?;
    let objects = compile(&Toolchain::find()?, workspace, &target)?;
    copy(&objects, out, COMPILED)
}

/// Compiles the objects and tells their directory.
fn compile(toolchain: &Toolchain, workspace: &Path, target: &Path) -> Result<PathBuf, Error> {
    let mut cargo = toolchain.cargo("build", target);
    for object in OBJECTS {
        cargo.args(["--bin", object]);
    }
    for (variable, feature) in [(LOG_FEATURE, "log"), (NEXT_LAYOUT_FEATURE, "next-layout")] {
        if env::var_os(variable).is_some() {
            cargo.args(["--features", feature]);
        }
    }
    let status = cargo
        .current_dir(workspace)
        // A build script's standard output is for cargo's instructions.
        .stdout(Stdio::null())
        .status()
        .map_err(Error::NoCargo)?;
    if !status.success() {
        let toolchain = toolchain.to_string();
        return Err(Error::Compile { status, toolchain });
    }
    Ok(target.join("ebpf").join(TARGET).join("release"))
}

fn copy(from: &Path, to: &Path, source: &'static str) -> Result<(), Error> {
    for object in OBJECTS {
        let path = from.join(object);
        copy_object(&path, &to.join(object)).map_err(|error| Error::Object {
            path,
            error,
            source,
        })?;
    }
    Ok(())
}

fn copy_object(from: &Path, to: &Path) -> io::Result<()> {
    // Not `fs::copy`: the object is data here, and a packager's may be read-only.
    fs::write(to, fs::read(from)?)
}

const READY_MADE: &str = "LB_EBPF_OBJECTS must name a directory with all of lb-ebpf's objects";
const COMPILED: &str = "cargo has compiled it just now: is the disk full, or the file locked away?";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ready_made_object_is_named() {
        let empty = env::temp_dir().join(format!("lb-ebpf-build-{}", std::process::id()));
        fs::create_dir_all(&empty).unwrap();
        let error = copy(&empty, &empty, READY_MADE).unwrap_err().to_string();
        fs::remove_dir(&empty).unwrap();
        assert!(error.contains("/balancer (") && error.contains(OBJECTS_VARIABLE), "{error}");
    }

    #[test]
    fn every_program_has_its_object() {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/bin");
        let mut found: Vec<_> = fs::read_dir(programs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, OBJECTS);
    }
}
