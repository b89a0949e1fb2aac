//! Debian packages of other releases, without touching the machine's own lists and packages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{mirror::Mirror, quiet::Quiet, series::Suite};

/// An apt with lists of its own.
pub(super) struct Apt {
    directory: PathBuf,
}

/// Package files to be fetched.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    /// Package names.
    names: Vec<String>,
    /// The version of all of them.
    pub(super) version: String,
}

impl Apt {
    /// An apt in `directory` that knows the packages of `suites`, with fresh lists.
    pub(super) fn refreshed(directory: &Path, mirror: &Mirror, suites: &[Suite]) -> Result<Self> {
        for folder in ["etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(folder))
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let sources: String = suites.iter().map(|suite| mirror.line(*suite)).collect();
        for (file, text) in [("etc/sources.list", sources.as_str()), ("state/status", "")] {
            fs::write(directory.join(file), text)
                .with_context(|| format!("cannot write {}", directory.join(file).display()))?;
        }
        let apt = Self { directory: directory.to_owned() };
        apt.run("apt-get", &["update", "-oAPT::Update::Error-Mode=any"])?;
        Ok(apt)
    }

    /// The files of the kernel that `package` leads to. Since 7.2 the image and its modules are
    /// packages of their own.
    pub(super) fn kernel(&self, package: &str) -> Result<Wanted> {
        let depends =
            self.run("apt-cache", &[&["depends", "--recurse"], LESS, &[package]].concat())?;
        let names = kernel_packages(&depends);
        ensure!(!names.is_empty(), "package {package} leads to no kernel:\n{depends}");
        let words: Vec<_> = names.iter().map(String::as_str).collect();
        let uris = self.run("apt-get", &[&["download", "--print-uris"], &words[..]].concat())?;
        let version = version(&uris).with_context(|| format!("no version in {uris}"))?;
        Ok(Wanted { names, version })
    }

    /// Fetches package files to `target` and unpacks them there.
    pub(super) fn unpack(&self, wanted: &Wanted, target: &Path) -> Result<()> {
        let names = wanted.names.iter().map(String::as_str);
        let words: Vec<_> = ["download"].into_iter().chain(names).collect();
        self.command("apt-get", &words).inside(target).output()?;
        for entry in fs::read_dir(target).context("the directory was made above")? {
            let file = entry.context("the directory was made above")?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                Quiet::new("dpkg-deb")
                    .with(["-x".as_ref(), file.as_os_str(), target.as_os_str()])
                    .output()?;
                fs::remove_file(&file).with_context(|| file.display().to_string())?;
            }
        }
        Ok(())
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        self.command(program, words).output()
    }

    fn command(&self, program: &str, words: &[&str]) -> Quiet {
        let below =
            |key: &str, inside: &str| format!("-o{key}={}", self.directory.join(inside).display());
        Quiet::new(program)
            .with([
                below("Dir", ""),
                below("Dir::Etc", "etc"),
                below("Dir::State", "state"),
                below("Dir::State::status", "state/status"),
                below("Dir::Cache", "cache"),
            ])
            .with([
                "-oDir::Etc::sourcelist=sources.list",
                "-oDir::Etc::sourceparts=-",
                // Root's apt would drop its rights and could not write here.
                "-oAPT::Sandbox::User=root",
                // Releases that get no more updates are still what they were.
                "-oAcquire::Check-Valid-Until=false",
                "-oAPT::Architecture=amd64",
            ])
            .with(words)
    }
}

/// Of a package's relations only those that it cannot do without.
const LESS: &[&str] = &[
    "--no-recommends",
    "--no-suggests",
    "--no-conflicts",
    "--no-breaks",
    "--no-replaces",
    "--no-enhances",
];

/// Those of apt-cache's answer that contain the kernel.
fn kernel_packages(depends: &str) -> Vec<String> {
    let is_kernel = |name: &&str| {
        ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|prefix| {
            let rest = name.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        })
    };
    depends.lines().filter(is_kernel).map(str::to_owned).collect()
}

/// The version from lines of `'ADDRESS' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`.
fn version(uris: &str) -> Option<String> {
    let file = uris.lines().next()?.split(' ').nth(1)?;
    file.split('_').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_in_several_packages_is_found() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-7.2.13-cloud-amd64\n\
                       linux-base-cloud-amd64\nlinux-image-7.2.13-cloud-amd64\n\
                       linux-binary-7.2.13-cloud-amd64\nlinux-modules-7.2.13-cloud-amd64\nkmod\n";
        let expected = ["linux-image", "linux-binary", "linux-modules"]
            .map(|name| format!("{name}-7.2.13-cloud-amd64"));
        assert_eq!(kernel_packages(depends), expected);
    }

    #[test]
    fn the_version_is_that_of_the_file() {
        let uris = "'http://mirror.example/l.deb' linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb 26713492 SHA256:00\n";
        assert_eq!(version(uris).as_deref(), Some("6.1.192-2"));
        assert_eq!(version(""), None);
    }
}
