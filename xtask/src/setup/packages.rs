//! Debian's packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    host::Host,
    step::{Invocation, Step},
};

/// A package, and what shows that it is there. Not dpkg's word: on another distribution, or built
/// by hand, the same thing is just as good.
#[derive(Clone, Copy)]
pub(super) struct Package {
    name: &'static str,
    proof: Proof,
}

#[derive(Clone, Copy)]
enum Proof {
    /// A program that can be called by its name.
    Program(&'static str),
    /// A file that a compiler finds.
    File(&'static str),
}

/// What the tests and the demo run: network namespaces and devices, a real etcd to read backends
/// from, and real servers to check.
pub(super) const FOR_TESTS: &[Package] = &[
    Package::with_program("iproute2", "ip"),
    Package::with_program("ethtool", "ethtool"),
    Package::with_program(ETCD, "etcd"),
    Package::with_program("etcd-client", "etcdctl"),
    Package::with_program(HAPROXY, "haproxy"),
    Package::with_program(NGINX, "nginx"),
    // The program alone, without a service.
    Package::with_program("dnsmasq-base", "dnsmasq"),
];

/// What `cargo xtask kernels` boots other kernels with, besides.
pub(super) const FOR_KERNELS: &[Package] = &[
    Package::with_program("qemu-system-x86", "qemu-system-x86_64"),
    Package::with_program("kmod", "insmod"),
    Package::with_program("binutils", "strip"),
    Package::with_file("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
];

/// What bpf-linker is built from. Its LLVM is [`lb_ebpf_build::toolchain::LLVM_MAJOR`].
pub(super) const FOR_LINKER: &[Package] = &[
    Package::with_program("g++", "g++"),
    Package::with_file("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"),
    Package::with_file("zlib1g-dev", "/usr/include/zlib.h"),
    Package::with_file("libzstd-dev", "/usr/include/zstd.h"),
];

const ETCD: &str = "etcd-server";
const HAPROXY: &str = "haproxy";
const NGINX: &str = "nginx";

/// Packages that come with a service, and its name.
const SERVICES: [(&str, &str); 3] = [(ETCD, "etcd"), (HAPROXY, "haproxy"), (NGINX, "nginx")];

impl Package {
    const fn with_program(name: &'static str, program: &'static str) -> Self {
        let proof = Proof::Program(program);
        Self { name, proof }
    }

    const fn with_file(name: &'static str, file: &'static str) -> Self {
        let proof = Proof::File(file);
        Self { name, proof }
    }

    fn is_installed(&self, programs: &[PathBuf]) -> bool {
        match self.proof {
            Proof::Program(program) => programs.iter().any(|dir| dir.join(program).is_file()),
            Proof::File(file) => Path::new(file).is_file(),
        }
    }
}

/// The step that installs those of the packages that are missing.
pub(super) fn step(wanted: &[Package], host: &Host) -> Option<Step> {
    let missing = missing(wanted, &program_directories());
    if missing.is_empty() {
        return None;
    }
    let mut commands = vec![install(&missing)];
    if host.starts_services() {
        commands.extend(without_services(&missing));
    }
    let refreshed: Vec<_> = [update()].into_iter().chain(commands.clone()).collect();
    let name = format!("Debian's {}", missing.join(", "));
    Some(if all_known(&missing, &policy(&missing)) {
        // The lists may still be so old that the mirror has dropped what they name.
        Step::new(name, commands).or_else(refreshed)
    } else {
        Step::new(name, refreshed)
    })
}

/// Ends the services that come with packages: the tests start their own, and nobody has asked for
/// one that is always there.
fn without_services(packages: &[&str]) -> Option<Invocation> {
    let is_new = |package: &str| packages.contains(&package);
    let services: Vec<_> =
        SERVICES.into_iter().filter(|(package, _)| is_new(package)).map(|(_, it)| it).collect();
    let disable =
        || Invocation::root("systemctl").with(["disable", "--now"]).with(services.clone());
    (!services.is_empty()).then(disable)
}

/// Reads the package lists anew.
pub(super) fn update() -> Invocation {
    Invocation::root("apt-get").with(["update", LOCK_TIMEOUT])
}

/// Installs packages, without a question.
pub(super) fn install(packages: &[&str]) -> Invocation {
    Invocation::root("apt-get")
        .variable("DEBIAN_FRONTEND", "noninteractive")
        .with(["install", "--yes", "--no-install-recommends", LOCK_TIMEOUT])
        .with(packages.iter().copied())
}

/// A fresh machine may be running its first unattended upgrade: wait for it.
const LOCK_TIMEOUT: &str = "-oDPkg::Lock::Timeout=300";

/// Where programs are: as `PATH` says, and where root has them besides.
fn program_directories() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let root = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(root).collect()
}

fn missing(wanted: &[Package], programs: &[PathBuf]) -> Vec<&'static str> {
    let missing = wanted.iter().filter(|one| !one.is_installed(programs));
    missing.map(|package| package.name).collect()
}

/// What apt knows about packages; nothing where there is no apt.
fn policy(packages: &[&str]) -> String {
    let output = Command::new("apt-cache").arg("policy").args(packages).env("LC_ALL", "C").output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Whether apt-cache's answer has something to install for every package.
fn all_known(packages: &[&str], policy: &str) -> bool {
    packages.iter().all(|package| {
        let heading = format!("{package}:");
        policy
            .lines()
            .skip_while(|line| *line != heading)
            .skip(1)
            .take_while(|line| line.starts_with(' '))
            .any(|line| {
                let candidate = line.trim_start().strip_prefix("Candidate: ");
                candidate.is_some_and(|version| version != "(none)")
            })
    })
}

#[cfg(test)]
mod tests {
    use lb_ebpf_build::toolchain::LLVM_MAJOR;

    use super::*;

    #[test]
    fn what_is_there_is_not_missing() {
        let wanted = [
            Package::with_program("coreutils", "ls"),
            Package::with_file("passwd", "/etc/passwd"),
            Package::with_program("absent", "no-such-program"),
            Package::with_file("absent-dev", "/no/such/file.h"),
        ];
        let programs = ["/usr/bin", "/bin"].map(PathBuf::from);
        assert_eq!(missing(&wanted, &programs), ["absent", "absent-dev"]);
    }

    #[test]
    fn packages_without_a_candidate_are_not_known() {
        let policy = "g++:\n  Installed: (none)\n  Candidate: 4:12.2.0-3\n  Version table:\n\
                      llvm-22-dev:\n  Installed: (none)\n  Candidate: (none)\n";
        assert!(all_known(&["g++"], policy));
        assert!(!all_known(&["g++", "llvm-22-dev"], policy));
        assert!(!all_known(&["ethtool"], policy));
    }

    #[test]
    fn only_services_of_new_packages_are_ended() {
        assert!(without_services(&["ethtool", "dnsmasq-base"]).is_none());
        let end = without_services(&["nginx", "ethtool", "etcd-server"]).unwrap();
        assert_eq!(end.to_string(), "systemctl disable --now etcd nginx");
    }

    #[test]
    fn services_come_with_packages_that_are_installed() {
        for (name, _) in SERVICES {
            assert!(FOR_TESTS.iter().any(|package| package.name == name), "{name}");
        }
    }

    #[test]
    fn the_linker_gets_the_llvm_of_the_compilers() {
        let llvm = format!("llvm-{LLVM_MAJOR}-dev");
        assert!(FOR_LINKER.iter().any(|package| package.name == llvm));
    }
}
