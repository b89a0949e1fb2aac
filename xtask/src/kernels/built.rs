//! Programs of this workspace, built for the guests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{quiet::Quiet, task::TEST_TARGETS};
use crate::command::cargo;

/// The programs' files by the names that they have in a guest's `/lb`.
pub(super) fn build() -> Result<BTreeMap<String, PathBuf>> {
    let mut tests = cargo();
    tests.args(["test", "--no-run", "-p", "lb-tests"]);
    tests.args(TEST_TARGETS.iter().flat_map(|target| ["--test", target]));
    let mut programs = cargo();
    programs.args(["build", "-p", "lb-userspace", "-p", "lb-tests", "--bins"]);
    let mut executables = messages(&mut tests)?;
    executables.extend(messages(&mut programs)?);
    let wanted = TEST_TARGETS.iter().chain(&PROGRAMS);
    wanted
        .map(|name| {
            let file = executables.remove(*name);
            Ok(((*name).to_owned(), file.with_context(|| format!("cargo built no {name}"))?))
        })
        .collect()
}

/// What the tests start.
const PROGRAMS: [&str; 4] = ["lbd", "lbctl", "lb-tests-client", "lb-tests-server"];

/// Runs cargo and collects the executables that it names.
fn messages(command: &mut Command) -> Result<BTreeMap<String, PathBuf>> {
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    eprintln!("== building");
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "building failed ({}), see above", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(executable).collect())
}

/// Name and file of an executable, if cargo's message is about one.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), message["executable"].as_str()?.into()))
}

/// A program's file without what only debuggers read, which is most of it.
pub(super) fn stripped(file: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let target = scratch.join("stripped");
    Quiet::new("strip")
        .with(["--strip-debug".as_ref(), "-o".as_ref(), target.as_os_str(), file.as_os_str()])
        .output()?;
    let content = fs::read(&target).with_context(|| target.display().to_string())?;
    fs::remove_file(&target).with_context(|| target.display().to_string())?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_among_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"golden"},
            "filenames":["/t/golden-1"],"executable":"/t/golden-1","fresh":true}"#;
        assert_eq!(executable(message), Some(("golden".into(), "/t/golden-1".into())));
        let library = r#"{"target":{"name":"lb_tests"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
