//! A kernel in the cache: its image, its modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use lb_ebpf_build::tools_directory;

use super::{
    apt::{Apt, Wanted},
    mirror::Mirror,
    quiet::Quiet,
    series::Series,
};

/// An unpacked kernel.
pub(super) struct Kernel {
    /// As `uname -r` says it there.
    pub(super) release: String,
    /// The version of its package.
    pub(super) package: String,
    /// What the boot loader takes.
    pub(super) image: PathBuf,
    /// The directory with `lib/modules`.
    base: PathBuf,
}

/// Small, and yet it has all the devices that the tests want.
const PACKAGE: &str = "linux-image-cloud-amd64";

impl Kernel {
    /// The series' present kernel, fetched unless it is in the cache.
    ///
    /// # Errors
    /// If it cannot be fetched and no older one of the series is in the cache.
    pub(super) fn fetch(series: Series, mirror: &Mirror) -> Result<Self> {
        // Beside the tools that setup installs: outside `target`, so that `cargo clean` spares it.
        let shelf = tools_directory().with_file_name("kernels").join(series.to_string());
        let present = Apt::refreshed(&shelf.join("apt"), mirror, series.suites())
            .and_then(|apt| provide(&apt, &apt.kernel(PACKAGE)?, &shelf));
        match (present, cached(&shelf)) {
            (Ok(directory), _) => Self::in_directory(&directory),
            (Err(error), Some(directory)) => {
                eprintln!("{series}: {error:#}\n{series}: using the kernel of an earlier run");
                Self::in_directory(&directory)
            }
            (Err(error), None) => Err(error.context(format!(
                "cannot fetch a kernel {series}, and none is in {}: look at the mirror and the \
                 network",
                shelf.display()
            ))),
        }
    }

    fn in_directory(directory: &Path) -> Result<Self> {
        let context = || format!("{}: remove it to fetch it anew", directory.display());
        // Older packages are of the time when /lib was a directory.
        let base = [directory.to_owned(), directory.join("usr")]
            .into_iter()
            .find(|base| base.join("lib/modules").is_dir())
            .context("no modules")
            .with_context(context)?;
        let release = only_entry(&base.join("lib/modules")).with_context(context)?;
        let image = [
            directory.join(format!("boot/vmlinuz-{release}")),
            base.join("lib/modules").join(&release).join("vmlinuz"),
        ];
        let image = image
            .into_iter()
            .find(|path| path.is_file())
            .context("no image")
            .with_context(context)?;
        let package = directory.file_name().expect("a directory's name").to_string_lossy();
        Ok(Self { release, package: package.into_owned(), image, base })
    }

    /// The series as budgets name it: `6.1`.
    pub(super) fn series(&self) -> String {
        series_of(&self.release)
    }

    /// Files of modules and what they need, in the order in which they have to be loaded.
    pub(super) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        Quiet::new("depmod")
            .with(["-b".as_ref(), self.base.as_os_str()])
            .with([&self.release])
            .output()?;
        let steps = Quiet::new("modprobe")
            .with(["-d".as_ref(), self.base.as_os_str()])
            .with(["-S", &self.release, "--show-depends", "--all"])
            .with(names)
            .output()
            .with_context(|| format!("modules of {}", self.release))?;
        Ok(insertions(&steps))
    }
}

/// The directory of the wanted version below `shelf`; others are removed.
fn provide(apt: &Apt, wanted: &Wanted, shelf: &Path) -> Result<PathBuf> {
    let directory = shelf.join("unpacked").join(&wanted.version);
    if directory.is_dir() {
        return Ok(directory);
    }
    eprintln!("fetching linux {}", wanted.version);
    let partial = shelf.join("partial");
    let prepare = || -> std::io::Result<()> {
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)
    };
    prepare().with_context(|| format!("cannot make {}", partial.display()))?;
    apt.unpack(wanted, &partial)?;
    let replace = || -> std::io::Result<()> {
        let unpacked = shelf.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        fs::create_dir_all(&unpacked)?;
        fs::rename(&partial, &directory)
    };
    replace().with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

fn cached(shelf: &Path) -> Option<PathBuf> {
    let unpacked = shelf.join("unpacked");
    Some(unpacked.join(only_entry(&unpacked).ok()?))
}

fn only_entry(directory: &Path) -> Result<String> {
    let mut entries = fs::read_dir(directory)?;
    let entry = entries.next().context("empty")??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// The first two numbers of a release.
fn series_of(release: &str) -> String {
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The files that modprobe would insert, once each.
fn insertions(steps: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for line in steps.lines() {
        if let Some(file) = line.strip_prefix("insmod ") {
            let file = PathBuf::from(file.trim());
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_inserted_once_and_after_what_they_need() {
        let steps = "insmod /k/tunnel4.ko \ninsmod /k/ipip.ko \nbuiltin dummy\n\
                     insmod /k/tunnel4.ko \ninsmod /k/sit.ko \n";
        let expected = ["/k/tunnel4.ko", "/k/ipip.ko", "/k/sit.ko"].map(PathBuf::from);
        assert_eq!(insertions(steps), expected);
    }

    #[test]
    fn a_series_is_two_numbers() {
        assert_eq!(series_of("6.1.0-56-cloud-amd64"), "6.1");
        assert_eq!(series_of("7.2.13+deb14-cloud-amd64"), "7.2");
    }
}
