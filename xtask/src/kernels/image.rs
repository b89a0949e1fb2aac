//! A guest's file system: this machine's programs, a kernel's modules, our tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    archive::Archive,
    built::stripped,
    kernel::Kernel,
    quiet::Quiet,
    series::Expectation,
    task::{Task, tasks},
};

/// What init and the tests call. In `/bin` of the guest.
const TOOLS: [&str; 10] =
    ["sh", "mount", "insmod", "sleep", "ls", "mkdir", "cat", "ip", "tc", "ethtool"];

/// Devices that the tests use, and what the rig is built from.
const MODULES: [&str; 11] = [
    "veth",
    "bridge",
    "8021q",
    "sch_netem",
    "ipip",
    "sit",
    "ip6_tunnel",
    "fou",
    "fou6",
    "sch_ingress",
    "cls_bpf",
];

/// Where tests expect to mount or to write.
const DIRECTORIES: [&str; 8] =
    ["/dev", "/proc", "/sys", "/tmp", "/run", "/var/lib", "/etc", "/root"];

/// Files that are the same for all kernels.
pub(super) struct Common {
    files: BTreeMap<String, Vec<u8>>,
}

impl Common {
    /// Our programs and the machine's, with their libraries. `scratch` is a directory for files
    /// that are of no use later.
    pub(super) fn gather(built: &BTreeMap<String, PathBuf>, scratch: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut libraries = BTreeSet::new();
        for tool in TOOLS {
            let file = find(tool)?;
            libraries.extend(libraries_of(&file)?);
            files.insert(format!("/bin/{tool}"), read(&file)?);
        }
        for (name, file) in built {
            libraries.extend(libraries_of(file)?);
            files.insert(format!("/lb/{name}"), stripped(file, scratch)?);
        }
        for library in libraries {
            let content = read(Path::new(&library))?;
            files.insert(library, content);
        }
        Ok(Self { files })
    }

    /// The whole file system for a kernel of which this is expected.
    pub(super) fn with(&self, kernel: &Kernel, expectation: Expectation) -> Result<Vec<u8>> {
        let mut archive = Archive::new();
        DIRECTORIES.iter().for_each(|directory| archive.directory(directory));
        for (path, content) in &self.files {
            archive.file(path, content);
        }
        let mut order = String::new();
        for file in kernel.modules(&MODULES)? {
            let name = file.file_name().expect("modprobe names files").to_string_lossy();
            let path = format!("/lib/modules/{name}");
            archive.file(&path, &read(&file)?);
            order.push_str(&path);
            order.push('\n');
        }
        archive.file("/modules", order.as_bytes());
        archive.file("/tasks", lines(tasks(expectation)).as_bytes());
        archive.file("/init", include_bytes!("init.sh"));
        Ok(archive.finish())
    }
}

/// As init reads them: the name, a blank, the rest.
fn lines(tasks: &[Task]) -> String {
    tasks.iter().map(|Task { name, command }| format!("{name} {command}\n")).collect()
}

fn find(tool: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let root = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut files = env::split_paths(&path).chain(root).map(|directory| directory.join(tool));
    files
        .find(|file| file.is_file())
        .with_context(|| format!("there is no `{tool}` on this machine"))
}

/// Paths of the loader and of all libraries that a program needs.
fn libraries_of(program: &Path) -> Result<Vec<String>> {
    let answer = Quiet::new("ldd").with([program]).output()?;
    Ok(paths(&answer))
}

/// The absolute paths in lines of `NAME => PATH (ADDRESS)` and `PATH (ADDRESS)`.
fn paths(answer: &str) -> Vec<String> {
    let path = |line: &str| {
        let found = line.split(" => ").last()?.trim().split(" (").next()?;
        found.starts_with('/').then(|| found.to_owned())
    };
    answer.lines().filter_map(path).collect()
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let answer = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f26)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f27)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(paths(answer), expected);
    }
}
